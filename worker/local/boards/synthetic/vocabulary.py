# ruff: noqa: RUF001 - listings are full of typographic quotes and dashes
"""The words of the synthetic listings and companies. Everything here is invented."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Level:
    """A seniority level.

    Attributes:
        prefix: Prefix of a title.
        seniority: LinkedIn's name for it.
        years: Required years of experience, from and to.
        pay: Factor applied to the pay of the field.
    """

    prefix: str
    seniority: str
    years: tuple[int, int]
    pay: float


INTERN = Level("", "Internship", (0, 1), 0.45)
JUNIOR = Level("Junior", "Entry level", (0, 2), 0.7)
MIDDLE = Level("", "Associate", (2, 5), 1.0)
SENIOR = Level("Senior", "Mid-Senior level", (5, 8), 1.35)
LEAD = Level("Lead", "Mid-Senior level", (7, 10), 1.55)
PRINCIPAL = Level("Principal", "Director", (9, 15), 1.9)


@dataclass(frozen=True, slots=True)
class Field:
    """A field of work.

    Attributes:
        roles: Titles without a level.
        french_roles: The same titles in French, in the same number.
        annual_pay: Pay of the middle level in the US, in dollars a year, from and to.
        by_the_hour: Whether full-time pay is usually hourly.
    """

    name: str
    industry: str
    company_words: tuple[str, ...]
    roles: tuple[str, ...]
    french_roles: tuple[str, ...]
    skills: tuple[str, ...]
    duties: tuple[str, ...]
    annual_pay: tuple[int, int]
    by_the_hour: bool = False


FIELDS = (
    Field(
        "Engineering",
        "Software Development",
        ("Systems", "Labs", "Software", "Cloud"),
        (
            "Software Engineer",
            "Backend Engineer",
            "Frontend Developer",
            "Full Stack Developer",
            "DevOps Engineer",
            "Site Reliability Engineer",
            "Mobile Engineer (iOS)",
            "C++ Developer",
        ),
        (
            "Ingénieur logiciel",
            "Développeur back-end",
            "Développeur front-end",
            "Développeur full stack",
            "Ingénieur DevOps",
            "Ingénieur fiabilité",
            "Développeur iOS",
            "Développeur C++",
        ),
        (
            "Python",
            "Go",
            "TypeScript",
            "React",
            "PostgreSQL",
            "Kubernetes",
            "Terraform",
            "Kafka",
            "Rust",
            "gRPC",
            "C#",
            "Swift",
        ),
        (
            "Own services from the first sketch to the pager, with {skill} at their core",
            "Cut the p99 latency of our checkout path, which today sits at {number} ms",
            "Review designs and code with the kindness that you would want for your own",
            "Move {number} cron jobs onto one durable queue and delete the rest",
            "Write the runbook that lets the whole team sleep through the night",
            "Pair with the {team} team on the parts of {skill} that nobody dares to touch",
        ),
        (95_000, 150_000),
    ),
    Field(
        "Data",
        "Information Services",
        ("Analytics", "Insights", "Intelligence", "Metrics"),
        (
            "Data Engineer",
            "Data Analyst",
            "Data Scientist",
            "Machine Learning Engineer",
            "Analytics Engineer",
            "BI Developer",
        ),
        (
            "Ingénieur data",
            "Analyste de données",
            "Data scientist",
            "Ingénieur machine learning",
            "Analytics engineer",
            "Développeur BI",
        ),
        ("SQL", "Python", "dbt", "Spark", "Airflow", "Snowflake", "PyTorch", "Looker", "R", "Power BI"),
        (
            "Model {number} sources into tables that the {team} team trusts without asking",
            "Find out why two dashboards disagree, and make it impossible to happen again",
            "Ship experiments with {skill} and say plainly when an effect is not there",
            "Keep the nightly load under {number} minutes while the volume doubles",
            "Explain a confidence interval to somebody who has no time for one",
            "Retire the spreadsheets that run half of the company",
        ),
        (85_000, 140_000),
    ),
    Field(
        "Design",
        "Design Services",
        ("Studio", "Creative", "Design"),
        ("Product Designer", "UX Researcher", "Graphic Designer", "Motion Designer", "Content Designer"),
        (
            "Designer produit",
            "Chercheur UX",
            "Graphiste",
            "Motion designer",
            "Concepteur-rédacteur",
        ),
        ("Figma", "prototyping", "design systems", "accessibility", "After Effects", "user interviews"),
        (
            "Turn a page of complaints into a flow that people finish",
            "Keep {number} components honest across web and mobile",
            "Sit in on {number} customer calls a month and bring back what surprised you",
            "Sketch in {skill} early, and throw most of it away",
            "Raise the contrast, the touch targets and the bar",
        ),
        (70_000, 120_000),
    ),
    Field(
        "Marketing",
        "Advertising Services",
        ("Media", "Brands", "Growth"),
        (
            "Marketing Manager",
            "SEO Specialist",
            "Content Writer",
            "Social Media Manager",
            "Performance Marketer",
            "Brand Manager",
        ),
        (
            "Responsable marketing",
            "Spécialiste SEO",
            "Rédacteur web",
            "Community manager",
            "Traffic manager",
            "Chef de marque",
        ),
        ("SEO", "Google Analytics", "copywriting", "HubSpot", "paid search", "A/B testing"),
        (
            "Plan and run {number} campaigns a quarter with a budget that you defend yourself",
            "Write words that sound like a person and rank like a textbook",
            "Report what {skill} brought in, and what it did not",
            "Brief the {team} team so well that the first draft is the last",
            "Grow the newsletter past {number} thousand readers who open it",
        ),
        (55_000, 100_000),
    ),
    Field(
        "Sales",
        "Business Services",
        ("Partners", "Trading", "Solutions"),
        (
            "Account Executive",
            "Sales Development Representative",
            "Key Account Manager",
            "Retail Sales Associate",
            "Sales Manager",
        ),
        (
            "Ingénieur commercial",
            "Chargé de développement commercial",
            "Responsable grands comptes",
            "Conseiller de vente",
            "Directeur des ventes",
        ),
        ("Salesforce", "negotiation", "cold calling", "forecasting", "MEDDIC", "point of sale"),
        (
            "Build a pipeline worth {number} times your quota, and keep it clean",
            "Open doors in the region with the help of the {team} team",
            "Run demos that answer the question that was asked",
            "Keep {skill} so current that a colleague could take over tomorrow",
            "Close {number} new accounts a year without promising the moon",
        ),
        (50_000, 110_000),
    ),
    Field(
        "Finance",
        "Financial Services",
        ("Capital", "Finance", "Ledger", "Accounting"),
        ("Accountant", "Financial Analyst", "Payroll Specialist", "Internal Auditor", "Tax Manager"),
        ("Comptable", "Analyste financier", "Gestionnaire de paie", "Auditeur interne", "Fiscaliste"),
        ("Excel", "SAP", "IFRS", "US GAAP", "NetSuite", "month-end close", "Power Query"),
        (
            "Close the month in {number} working days, with nothing left on a sticky note",
            "Reconcile {number} bank accounts and chase the last cent",
            "Prepare the file that the auditors stop asking about",
            "Automate with {skill} what is typed twice today",
            "Sit with the {team} team and put a price on their plans",
        ),
        (60_000, 105_000),
    ),
    Field(
        "Healthcare",
        "Hospitals and Health Care",
        ("Health", "Clinic", "Care"),
        (
            "Registered Nurse",
            "Physical Therapist",
            "Pharmacist",
            "Medical Assistant",
            "Radiology Technologist",
            "Care Coordinator",
        ),
        (
            "Infirmier diplômé d'État",
            "Kinésithérapeute",
            "Pharmacien",
            "Assistant médical",
            "Manipulateur radio",
            "Coordinateur de soins",
        ),
        ("patient care", "BLS certification", "Epic", "triage", "ACLS", "infection control"),
        (
            "Care for up to {number} patients a shift and hand over without gaps",
            "Chart in real time, so that nobody has to stay late",
            "Teach families what to watch for at home",
            "Work rotating shifts of 8 or 12 hours with the {team} team",
            "Use {skill} as if your own family were in the bed",
        ),
        (55_000, 105_000),
        by_the_hour=True,
    ),
    Field(
        "Trades",
        "Construction",
        ("Construction", "Builders", "Electric"),
        ("Electrician", "Welder", "HVAC Technician", "Carpenter", "Site Supervisor", "Plumber"),
        ("Électricien", "Soudeur", "Frigoriste", "Menuisier", "Chef de chantier", "Plombier"),
        ("blueprint reading", "OSHA 10", "TIG welding", "conduit bending", "refrigerants", "scaffolding"),
        (
            "Fit out {number} flats from bare wall to last test certificate",
            "Leave every site cleaner than you found it",
            "Read the drawings, then read them again before cutting",
            "Bring {skill} to a crew of {number}",
            "Plan the week with the {team} team and keep to it",
        ),
        (45_000, 85_000),
        by_the_hour=True,
    ),
    Field(
        "Logistics",
        "Transportation and Logistics",
        ("Logistics", "Freight", "Transport"),
        (
            "Warehouse Associate",
            "CDL-A Truck Driver",
            "Supply Chain Planner",
            "Forklift Operator",
            "Dispatcher",
        ),
        (
            "Préparateur de commandes",
            "Conducteur poids lourd",
            "Planificateur logistique",
            "Cariste",
            "Exploitant transport",
        ),
        ("inventory control", "route planning", "WMS", "DOT regulations", "SAP EWM", "forklift licence"),
        (
            "Pick, pack and load {number} orders a shift, right the first time",
            "Keep stock in the system equal to stock on the shelf",
            "Drive safely, {number} stops a day, home every night",
            "Use {skill} to find the hour that we lose every morning",
            "Tell the {team} team early when a delivery will be late",
        ),
        (40_000, 70_000),
        by_the_hour=True,
    ),
    Field(
        "Education",
        "Education",
        ("Academy", "Learning", "School"),
        ("Mathematics Teacher", "English Tutor", "Curriculum Developer", "School Counselor", "Lecturer"),
        (
            "Professeur de mathématiques",
            "Formateur d'anglais",
            "Concepteur pédagogique",
            "Conseiller d'orientation",
            "Maître de conférences",
        ),
        ("lesson planning", "classroom management", "assessment", "Google Classroom", "safeguarding"),
        (
            "Teach {number} hours a week in groups small enough to know every name",
            "Write material that works on paper when the network does not",
            "Give feedback within {number} days of a test",
            "Use {skill} without letting it take over the lesson",
            "Talk with parents and the {team} team before a problem is one",
        ),
        (45_000, 80_000),
    ),
    Field(
        "Hospitality",
        "Hospitality",
        ("Hotels", "Kitchens", "Catering"),
        ("Line Cook", "Hotel Receptionist", "Barista", "Restaurant Manager", "Event Coordinator"),
        ("Commis de cuisine", "Réceptionniste", "Barista", "Directeur de restaurant", "Chargé d'événementiel"),
        ("food safety", "guest relations", "Opera PMS", "latte art", "menu planning", "banqueting"),
        (
            "Serve {number} covers a night and still taste everything",
            "Greet guests by name and remember how they like their coffee",
            "Plan rotas that leave two days off in a row",
            "Bring {skill} to a kitchen where nobody shouts",
            "Run events for up to {number} hundred guests with the {team} team",
        ),
        (32_000, 62_000),
        by_the_hour=True,
    ),
    Field(
        "Operations",
        "Human Resources Services",
        ("Services", "People", "Office"),
        (
            "Customer Support Specialist",
            "HR Business Partner",
            "Recruiter",
            "Project Manager",
            "Product Manager",
            "Executive Assistant",
            "Legal Counsel",
        ),
        (
            "Conseiller support client",
            "Responsable ressources humaines",
            "Chargé de recrutement",
            "Chef de projet",
            "Chef de produit",
            "Assistant de direction",
            "Juriste",
        ),
        ("Zendesk", "Jira", "stakeholder management", "Workday", "contract drafting", "employment law"),
        (
            "Answer {number} tickets a day as if each were the first",
            "Keep a roadmap of {number} months that survives contact with the {team} team",
            "Write minutes that people read",
            "Use {skill} to make one process a quarter disappear",
            "Say no early, and say why",
        ),
        (50_000, 115_000),
    ),
)

TEAMS = ("platform", "growth", "operations", "field", "finance", "product", "clinical", "night")

FIRST_COMPANY_WORDS = (
    "Alderwick",
    "Bramblegate",
    "Cindermoor",
    "Dovetree",
    "Eastmarrow",
    "Fenwhistle",
    "Glasswren",
    "Harrowby",
    "Ironbrook",
    "Junipero",
    "Kestrelux",
    "Larkspire",
    "Mossavane",
    "Northquill",
    "Oakhallow",
    "Pebblemark",
    "Quillfern",
    "Rookmere",
    "Saltmarsh",
    "Thistledown",
    "Umberline",
    "Verdalis",
    "Wrenfield",
    "Yarrowtide",
    "Zephyrion",
    "Brückenau",
    "Élanvert",
    "Montclairé",
    "Ñandúa",
    "Øresta",
    "Padmavati",
    "Shapla",
)

PERKS = (
    "{number} days of paid leave, and a manager who makes you take them",
    "Health, dental and vision cover from the first day",
    "A learning budget that nobody audits below {number} hundred",
    "Flexible hours between 7:00 and 19:00",
    "Retirement plan with a {number}% match",
    "Hardware of your choice",
    "Free lunch on Thursdays – the good kind 🍲",
    "Parental leave of {number} weeks for every parent",
    "A commuter pass, or a bicycle",
    "Sick leave that nobody counts",
    "Two volunteering days a year, in working time",
    "A pay review every {number} weeks until you are settled, then every year",
    "Relocation support of up to {number} hundred",
)
REQUIREMENTS = (
    "{years}+ years in a comparable role",
    "You have used {skill} where it mattered",
    "Working knowledge of {skill}, or the will to learn it fast",
    "You write clearly; half of our work is written",
    "Comfort with {skill} and with saying “I don’t know yet”",
    "A work permit for {country}, or a clear path to one",
    "A degree helps; a body of work helps more",
    "References from people who would hire you again",
    "Patience with colleagues who are new, and with forms that are old",
    "An eye for the small thing that will be a large thing in a year",
)
OPENINGS = (
    "{company} is hiring. We are {size} people who care about {industry}, and the {team} team needs a hand.",
    "Since 19{number}, {company} has done one thing in {industry} and done it well. Now we want to do two.",
    "Our customers in {place} trust us with what matters to them. Help {company} to stay worth it.",
    "At {company} a {role} is not a seat on a chart: you will be known by what you finish.",
    "This is a new position in our {team} team, open because the work has grown, not because somebody left.",
)
CLOSINGS = (
    "We read every application ourselves and answer within {number} days.",
    "{company} is an equal opportunity employer. Tell us what you need to do your best in the interview.",
    "No agencies, please. Naïve questions are welcome; so are résumés without a photo.",
)

DUTIES = (
    "Train one colleague a year until they can do your job",
    "Keep the numbers of the {team} team where everybody can see them",
    "Find the {number} minutes in every day that nobody needs to lose",
    "Handle the odd surprise without passing it on",
    "Write down what you learned, on one page, for whoever comes next",
    "Meet the {team} team twice a week, standing up",
    "Answer for a budget of {number} thousand, in local money",
    "Use {skill} where it helps and leave it out where it does not",
)
WAYS = (
    (
        "We meet on Monday mornings and leave the rest of the week to the work. Decisions are written down where "
        "the whole company can read them, with the names of those who disagreed."
    ),
    (
        "Most of the {team} team has been here for longer than {years} years. They will show you the ropes in your "
        "first {number} days, and ask you in return what looks odd to fresh eyes."
    ),
    (
        "Nobody is on call for more than one week in {number}. When something breaks we look for the cause, not for "
        "the culprit, and the report is open to all."
    ),
    (
        "Your first project is small on purpose. By the end of it you will know the people in {place}, the tools "
        "({skill} among them) and the part of {industry} that our customers worry about."
    ),
    (
        "We grew by {number}% last year without hiring a single manager. That will not work for ever; tell us how "
        "you would do it."
    ),
    (
        "Feedback comes every other Friday, in person or by video, and goes both ways. Promotions are decided twice "
        "a year by people who know your work."
    ),
)

FRENCH_OPENINGS = (
    "{company} recrute. Nous sommes {size} personnes passionnées et l’équipe {team} a besoin de renfort.",
    "Chez {company}, on finit ce que l’on commence. Rejoignez-nous à {place} pour un poste qui a du sens.",
    "Création de poste : notre activité grandit et nous cherchons notre futur collègue ({role}).",
)
FRENCH_DUTIES = (
    "Prendre en charge {number} dossiers par mois, de la première note à la livraison",
    "Travailler chaque jour avec l’équipe {team}, sans jargon inutile",
    "Mettre {skill} au service du métier plutôt que l’inverse",
    "Rédiger une documentation que l’on a plaisir à lire",
    "Réduire de {number} % le temps perdu entre deux étapes",
    "Proposer des améliorations et les mener à leur terme",
)
FRENCH_REQUIREMENTS = (
    "{years} ans d’expérience sur un poste comparable",
    "Bonne maîtrise de {skill}",
    "Des notions de {skill}, ou l’envie d’apprendre vite",
    "Rigueur, écoute et goût du travail bien fait",
    "Un français soigné ; l’anglais est un plus",
)
FRENCH_PERKS = (
    "{number} jours de RTT et de congés",
    "Mutuelle prise en charge à 80 %",
    "Titres-restaurant de 9,{number} €",
    "Télétravail selon accord d’équipe",
)
FRENCH_CLOSINGS = (
    "Nous répondons à chaque candidature sous {number} jours.",
    "À compétences égales, priorité aux personnes en situation de handicap.",
)
