"""The words of pay and of other money, in lower case.

English, German, Dutch, French, Spanish, Portuguese, Italian, Swedish, Danish, Norwegian and Polish.
"""

from __future__ import annotations

import re

from worker.pipeline.text import any_of

_NOUNS = any_of(
    r"""
    (?:base|hourly|starting|total)~pay pay~?(?:ranges?|rates?|scales?|bands?) rates?~of~pay salar(?:y|ies) wages?
    compensation remuneration ctc lpa (?:hiring|base|hourly)~range day~rates? hourly~rates? earnings
    honorar salari(?:s|o|al)\w* (?:uur|maand|jaar|week|start|bruto)?loon (?:stage|uur)vergoeding (?:uur|dag)?tarief
    salaires? r[ée]mun[ée]ration taux~horaire tjm gratification
    sueldo remuneraci[óo]n retribuci[óo]n salário remuneração vencimento bolsa ral retribuzione stipendio
    (?:tim|månads|års|grund)?lön (?:time|måneds|års)?l[øö]nn? wynagrodzeni\w* stawk\w* pensj\w* widełki
    """
)
_PARTS_OF_NOUNS = any_of(
    r"""
    gehalt (?<!be)lohn (?:grund|stunden|monats|jahres|ausbildungs|\b)vergütung bezahlung entgelt tagessatz stundensatz
    \bbase: \bpay~?: (?:^|\n)\W*(?:internship~|monthly~)?stipend\b
    """
)
_OTHER_WORDS = any_of(
    r"""
    pay pays paying paid paye earn(?:s|ing)? rates? package gross einkommen verdien\w* zahlen zahlt brutto bruto
    pagamento compenso lord[oa] płac\w* zarob\w*
    """
)
NAMES_PAY = re.compile(rf"\b{_NOUNS}\b|{_PARTS_OF_NOUNS}")
"""Nouns for pay."""
IS_PAY = re.compile(rf"\b(?:{_NOUNS}|{_OTHER_WORDS})\b|{_PARTS_OF_NOUNS}")
"""Any words for pay. Some of them stand with other money as well (`a bonus paid yearly`)."""

GROSS = any_of("gross brut(?:to|os?|s|es?|as?)? lord[oiae]")
NET = any_of("net(?:t[aeio]?|os?|s)? líquid[oa]s? na~rękę")

_OTHER_MONEY_WORDS = any_of(
    r"""
    incentives? differentials? premiums? (?<=\w~)stipends? allowances? reimburse\w* tuition refer referr\w* additional
    extra 401 hsa rrsp revenues? sales(?=~of|$|~targets?) turnover funding fund(?:s|rais\w*)? rais(?:e|ed) insurance
    cover(?:age)? benefits? discounts? assistance savings? tips commissions? sign-?(?:on|ing) retention relocation
    overtime per~diem mileage donat\w+ billion million quotas? training(?=~allow|$) season vouchers? gifts? grants?
    contributions? match(?:es|ing)? pension fees? costs? prices? worth value[ds]? awards? prizes? win visas? sponsor\w*
    thresholds? household portfolio assets loans? debts? deposits? profits?
    targets?(?!~(?:salary|base|pay|compensation|total|annual|hiring)) welcome hire subsid\w+ schemes?
    packaging charity gave spend(?:ing)? invest\w* ote accounts?~(?:worth|of) generated parking phone gym expenses?
    perks? rewards? meals? lunch rent death~in~service x~salary salary~(?:sacrifice|exchange|review) p&l

    jobrad vwl vermögenswirksame spesen provision omzet korting cadeau\w* bijdrage premie tegemoetkoming vakantiegeld

    primes? tickets? titres? indemnités? allocations? chiffre~d'affaires ca~de levée fonds participation intéressement
    remboursement\w* chèques? cooptation mutuelle panier repas subventions? remises? frais

    bonos? plus~de cheques? vales? ayudas? dietas facturación presupuesto ventas ingresos seguro descuentos? comisi\w+
    incentivos? (?<!bolsa[~-])auxílio bônus plr cesta ajuda faturamento receita prêmios? descontos? verba orçamento
    buoni premi[oi]? rimbors\w+ welfare fatturato indennità provvigion\w+ sconti? contributo ricavi incentivi

    omsättning omsætning omsetning tillägg tillæg tillegg tilskud
    premi[aęi] dofinansowani\w+ karta bony? budżet przych\w+ obr[oó]t\w* dodat\w+ zniżk\w+ polecen\w+
    ubezpieczeni\w+ prowizj\w+ zwrot
    """
)
_PARTS_OF_OTHER_MONEY = any_of(
    r"""
    bonus budget prämie zusch[uü]ss zulage zuschl[aä]g gutschein sachbez[uü]g weihnachtsgeld urlaubsgeld umsatz rabatt
    erstattung förderung leasing kosten gebühr einmalzahlung sonderzahlung versicherung
    (?<!stage)(?<!uur)vergoeding toeslag uitkering bidrag
    """
)
IS_OTHER_MONEY = re.compile(rf"\b{_OTHER_MONEY_WORDS}\b|{_PARTS_OF_OTHER_MONEY}")
"""Bonuses, vouchers, allowances, revenue, budgets, prices, insurance and the like."""
_WITHOUT = any_of(
    r"""
    excl\w* not~includ\w+ without in~addition~to on~top~of besides exkl\w* zzgl zuzüglich neben naast hors sans senza
    """
)
IS_WITHOUT_WORD = re.compile(rf"\b{_WITHOUT}\b")
IS_WITHOUT = re.compile(rf"\b{_WITHOUT}\b[^,;:()]{{0,60}}[,;:)]")
"""What pay is stated without."""

_OF_PAY = "(?:~(?:pay|rate|salary|wage|hourly)){0,2}"
_MOST = any_of(
    rf"""
    up~?to until max(?:imum|imaal|imal)?{_OF_PAY} bis(?:~zu)? tot jusqu'à hasta até fino~a upp~till op~til opp~til
    """
)
IS_MOST = re.compile(rf"(?:(?:^|\n)to|\b{_MOST}(?: (?:a maximum of|maximaal|an?|de|of|ca))?|(?<=\d )do)\.?:? ?$")
"""Text that ends with words for an upper bound."""
_LEAST = any_of(
    rf"""
    from start(?:s|ing)?(?:~\w{{1,15}}){{0,3}} min(?:imum)?{_OF_PAY} at~least as~low~as ab mindestens vanaf minimaal
    [àa]~partir~de desde au~moins a~partire~da od från fra
    """
)
IS_LEAST = re.compile(rf"\b{_LEAST}\.?:? ?$")
"""Text that ends with words for a lower bound."""

_OF_RANGE = any_of("between zwischen tussen entre tra fra mellan mellem mellom pomiędzy von de van")
IS_BEFORE_RANGE = re.compile(rf"\b{_OF_RANGE} ?$")
"""Text that ends with a word for a range."""

_CLAUSE_ENDS = any_of(
    r"""
    plus with including inclusive and or based depending excl\w* incl\w* outside inside exkl\w* inkl\w* zzgl zuzüglich
    mit und je met en op bij avec et selon hors y e más oltre i och og
    """
)
CLAUSE_END = re.compile(rf"[.,;:!?()\n+*|/]|\b{_CLAUSE_ENDS}\b")
"""Where the words end that belong to an amount before them."""
