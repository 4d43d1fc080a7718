from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worker.pipeline.company_names import core_name


@pytest.mark.parametrize(
    ("names", "core"),
    [
        (["Acme", "ACME, Inc.", "The Acme Corporation", "Acme L.L.C.", "acme llc", "Acme Ltd", "Acme plc"], "acme"),
        (["Weber AG", "Weber GmbH", "WEBER GmbH & Co. KG", "Weber GmbH & Co. KGaA", "Weber SE & Co. KGaA"], "weber"),
        (["Weber UG (haftungsbeschränkt)", "Weber e.K.", "Weber PartG mbB", "Weber Gesellschaft mbH"], "weber"),
        (["Müller Söhne GmbH & Co. KG", "Muller Sohne", "MÜLLER SÖHNE OHG"], "muller sohne"),
        (["De Vries B.V.", "de Vries BV", "De Vries N.V.", "De Vries V.O.F."], "de vries"),
        (["Peeters BVBA", "Peeters SRL", "Peeters S.R.L."], "peeters"),
        (["Café Lumière SARL", "Cafe Lumiere S.A.R.L.", "CAFÉ LUMIÈRE SAS", "Café Lumière S.A.S.U."], "cafe lumiere"),
        (["Rossi S.p.A.", "Rossi SpA", "Rossi S.r.l.", "ROSSI SRL", "Rossi S.r.l.s."], "rossi"),
        (["García Hermanos, S.L.", "Garcia Hermanos SLU", "García Hermanos S.A.U."], "garcia hermanos"),
        (["Grupo Azul, S.A. de C.V.", "Grupo Azul S.A.P.I. de C.V.", "Grupo Azul S de RL de CV"], "grupo azul"),
        (["Padaria Sol Ltda.", "Padaria Sol LTDA", "Padaria Sol S/A", "Padaria Sol S.A.", "Padaria Sol Lda."],
         "padaria sol"),
        (["Nowak Sp. z o.o.", "Nowak sp. z o.o. sp. k.", "NOWAK SP Z O O", "Nowak S.A."], "nowak"),
        (["Novák s.r.o.", "Novak spol. s r.o.", "Novák a.s."], "novak"),
        (["Horvat d.o.o.", "Horvat d.d."], "horvat"),
        (["Nagy Kft.", "Nagy Zrt.", "Nagy Nyrt."], "nagy"),
        (["Ørsted A/S", "Orsted"], "orsted"),
        (["Łódź Sp. z o.o.", "Lodz"], "lodz"),
        (["Lund A/S", "Lund ApS", "LUND AS", "Lund ASA", "Lund AB", "Lund Oyj"], "lund"),
        (["Tamm OÜ", "UAB Tamm", "SIA Tamm"], "tamm"),
        (["Kiwi Pty Ltd", "Kiwi (Pty) Ltd", "Kiwi Pty. Limited", "Kiwi Pte. Ltd."], "kiwi"),
        (["Tara Pvt. Ltd.", "Tara Private Limited", "Tara Pvt Limited"], "tara"),
        (["Satu Sdn. Bhd.", "PT Satu Tbk", "PT. Satu"], "satu"),
        (["Ege A.Ş.", "EGE Ltd. Şti."], "ege"),
        (["ООО Ромашка", "Ромашка ООО", "АО Ромашка"], "ромашка"),  # noqa: RUF001 (Cyrillic letters)
        (["株式会社みどり", "みどり株式会社", "(株)みどり"], "みどり"),
        (["Murphy DAC", "Murphy U.C.", "Murphy Limited"], "murphy"),
        (["Lowe's", "Lowe\N{RIGHT SINGLE QUOTATION MARK}s LLC"], "lowes"),
        (["Sons & Daughters", "Sons and Daughters Ltd."], "sons and daughters"),
    ],
)  # fmt: skip
def test_the_legal_form_is_no_part_of_the_core(names: list[str], core: str) -> None:
    assert {core_name(name) for name in names} == {core}


@pytest.mark.parametrize(
    ("name", "core"),
    [
        ("The Limited", "limited"),
        ("Company", "company"),
        ("Inc.", "inc"),
        ("Ok", "ok"),
        ("Hornbach UK", "hornbach uk"),
        ("Hotel Spa Resort", "hotel spa resort"),
        ("Co-op", "co op"),
        ("Bank of Limerick", "bank of limerick"),
        (" - ", None),
        ("", None),
        (None, None),
    ],
)
def test_other_words_are_part_of_the_core(name: str | None, core: str | None) -> None:
    assert core_name(name) == core


@given(st.text(max_size=100))
@example("Inc. " * 20)
def test_a_core_is_its_own_core_or_shorter(name: str) -> None:
    core = core_name(name)
    if core is not None:
        assert core == " ".join(core.split())
        assert len((core_name(core) or "").split()) <= len(core.split())
