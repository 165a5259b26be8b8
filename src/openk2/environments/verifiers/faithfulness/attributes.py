"""What can be said of an entity of a closed world, and the ways of saying it.

Phrases are regular expressions over tagged text (see `statements`): names are `@` and a letter for
their sort and a number, numbers `@n` and their digits. `{v}` stands for the value and `{x}` for the
entity. What `renders` and `asks` hold is plain language, for documents and questions.
"""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["ATTRIBUTES", "KINDS", "Attribute"]


@dataclass(frozen=True)
class Attribute:
    """One attribute.

    sort          of its value: y year, n number, p person, c town, o owner, e entity, m emblem
    renders       predicates in plain language
    asks          what a question says of it, with {x}
    predicates    what may follow the entity
    clauses       whole statements, the entity in any place
    nouns         words for it: "the NOUN of {x} is {v}", "{x} has a NOUN of {v}"
    unit          what may follow a value after a noun
    """

    sort: str
    renders: tuple[str, ...]
    asks: tuple[str, ...]
    predicates: tuple[str, ...]
    clauses: tuple[str, ...] = ()
    nouns: tuple[str, ...] = ()
    unit: str = ""


LEADS = r"(?:leads|heads|runs|directs|manages|is in charge of)"
LED = r"(?:led|headed|run|directed|managed)"
PEOPLE = r"(?:people|workers|employees|persons|staff(?: members)?|members of staff)"
A_YEAR = r"(?:a year|per year|each year|every year|annually|yearly)"
SQUARE_METRES = r"(?:square met(?:re|er)s|sq ?m|m²|m2)"

ATTRIBUTES: Mapping[str, Attribute] = {
    "founded": Attribute(
        "y",
        ("was founded in {v}", "was established in {v}", "dates from {v}", "was set up in {v}"),
        ("when {x} was founded",),
        (
            r"(?:was |were )?(?:first )?(?:founded|established|set up|created|started|inaugurated)"
            r" (?:in|in the year) {v}",
            r"(?:dates|goes) (?:back )?(?:from|to) {v}",
            r"has existed since {v}",
            r"came into being in {v}",
        ),
        (
            r"(?:in )?{v} (?:saw the founding of|is the year in which|is when|is the year) {x}"
            r"(?: was (?:founded|established|set up|created))",
        ),
        ("founding year", "year of foundation", "foundation year", "founding date"),
    ),
    "renovated": Attribute(
        "y",
        ("was renovated in {v}", "was restored in {v}", "was last rebuilt in {v}"),
        ("when {x} was renovated",),
        (
            r"(?:was |were )?(?:last )?(?:renovated|restored|rebuilt|refurbished) "
            r"(?:in|in the year) {v}",
            r"(?:underwent|saw|had) (?:a |its )?(?:renovation|restoration) in {v}",
        ),
        (
            r"{v} (?:is the year in which|is when|is the year) {x} was"
            r" (?:last )?(?:renovated|restored|rebuilt|refurbished)",
        ),
        ("renovation year", "year of renovation", "year of its renovation"),
    ),
    "town": Attribute(
        "c",
        ("stands in {v}", "is located in {v}", "lies in {v}", "has its seat in {v}"),
        ("where {x} is", "in which town {x} stands"),
        (
            r"(?:is |are )?(?:located|based|situated|found|housed) in (?:the town of )?{v}",
            r"(?:is |stands |lies |sits |operates )?(?:in|in the town of) {v}",
            r"(?:has|with) its (?:seat|home|base) in {v}",
            r"can be found in {v}",
            r"calls {v} (?:its )?home",
        ),
        (r"{v} is (?:home to|the (?:home|seat|location) of) {x}", r"{v} (?:hosts|houses) {x}"),
        ("location", "seat", "home town", "town", "home"),
    ),
    "head": Attribute(
        "p",
        ("is led by {v}", "is run by {v}", "has {v} as its director", "is headed by {v}"),
        ("who leads {x}", "who runs {x}"),
        (
            rf"(?:is |being )?(?:{LED}) by {{v}}",
            r"(?:has|with) {v} as (?:its |the |a )?(?:director|head|leader|manager)",
            r"(?:has|with) {v} (?:as )?(?:leading|heading|running|directing|managing) it",
        ),
        (
            rf"{{v}} {LEADS} {{x}}",
            r"{v} is (?:the )?(?:director|head|leader|manager) of {x}",
            r"{v} is {x's} (?:director|head|leader|manager)",
        ),
        ("director", "head", "leader", "manager"),
    ),
    "former_head": Attribute(
        "p",
        ("was formerly led by {v}", "was previously run by {v}"),
        ("who led {x} before",),
        (
            rf"was (?:formerly|previously|once|earlier) {LED} by {{v}}",
            rf"was {LED} by {{v}} (?:before|earlier|previously|formerly|in the past)",
        ),
        (
            r"{v} (?:formerly|previously|once) (?:led|headed|ran|directed|managed) {x}",
            r"{v} (?:led|headed|ran|directed|managed) {x} (?:before|earlier|previously|formerly)",
            r"{v} was (?:formerly|previously|once) (?:the )?(?:director|head|leader|manager)"
            r" of {x}",
        ),
        tuple(f"{old} {role}" for old in ("former", "previous") for role in ("director", "head")),
    ),
    "staff": Attribute(
        "n",
        ("employs {v} people", "has {v} employees", "has a staff of {v}"),
        ("how many people {x} employs",),
        (
            rf"(?:employs|employing) {{v}} {PEOPLE}",
            rf"(?:has|with) {{v}} {PEOPLE}",
            r"(?:employs|has|with) a staff of {v}(?: people)?",
            rf"gives work to {{v}} {PEOPLE}",
        ),
        (
            rf"{{v}} {PEOPLE} work (?:at|for|in) {{x}}",
            rf"{{v}} {PEOPLE} are employed (?:at|by|in) {{x}}",
        ),
        ("staff", "staff size", "number of employees", "headcount", "workforce"),
        rf" {PEOPLE}",
    ),
    "budget": Attribute(
        "n",
        ("has a yearly budget of {v} crowns", "spends {v} crowns a year"),
        ("how large a yearly budget {x} has",),
        (
            rf"(?:spends|spending) {{v}} crowns {A_YEAR}",
            r"(?:has|with) (?:a|an) (?:yearly |annual )?budget of {v} crowns"
            rf"(?: {A_YEAR})?",
        ),
        (),
        ("budget", "yearly budget", "annual budget"),
        rf" crowns(?: {A_YEAR})?",
    ),
    "area": Attribute(
        "n",
        ("covers {v} square metres", "has a floor area of {v} square metres"),
        ("how many square metres {x} covers",),
        (
            rf"(?:covers|covering|occupies|occupying|takes up|spans) (?:an area of )?{{v}}"
            rf" {SQUARE_METRES}",
            rf"(?:has|with) (?:a|an) (?:floor |total )?area of {{v}} {SQUARE_METRES}",
        ),
        (),
        ("area", "floor area", "total area", "size"),
        rf" {SQUARE_METRES}",
    ),
    "visitors": Attribute(
        "n",
        ("welcomes {v} visitors a year", "receives {v} visitors per year"),
        ("how many visitors {x} has in a year",),
        (
            r"(?:welcomes|receives|attracts|draws|has|gets|sees|welcoming|receiving|attracting|with)"
            rf" {{v}} (?:visitors|guests) {A_YEAR}",
            rf"is visited by {{v}} (?:people|visitors|guests) {A_YEAR}",
        ),
        (
            rf"{{v}} (?:people|visitors|guests) (?:come to|visit) {{x}} {A_YEAR}",
            r"(?:each year|every year),? {v} (?:people|visitors|guests) (?:come to|visit) {x}",
        ),
        ("number of visitors per year", "yearly number of visitors", "annual number of visitors"),
        rf"(?: (?:people|visitors|guests))?(?: {A_YEAR})?",
    ),
    "owner": Attribute(
        "o",
        ("belongs to {v}", "is owned by {v}"),
        ("who owns {x}",),
        (r"belongs to {v}", r"(?:is )?owned by {v}", r"is (?:the )?property of {v}"),
        (r"{v} owns {x}", r"{v} is (?:the )?owner of {x}", r"{v} is {x's} owner"),
        ("owner",),
    ),
    "supplier": Attribute(
        "e",
        ("buys its supplies from {v}", "is supplied by {v}"),
        ("who supplies {x}",),
        (
            r"(?:buys|gets|obtains|receives) its supplies from {v}",
            r"(?:is )?supplied by {v}",
            r"has {v} as its supplier",
        ),
        (r"{v} supplies {x}", r"{v} is (?:the )?supplier of {x}", r"{v} is {x's} supplier"),
        ("supplier",),
    ),
    "emblem": Attribute(
        "m",
        ("has {v} as its emblem", "uses {v} as its emblem"),
        ("what {x} has as its emblem",),
        (r"(?:has|uses|with) {v} (?:as|for) (?:its|an) (?:emblem|symbol)",),
        (r"{v} is (?:the )?(?:emblem|symbol) of {x}", r"{v} is {x's} (?:emblem|symbol)"),
        ("emblem", "symbol"),
    ),
}
KINDS = (
    "museum",
    "library",
    "theatre",
    "observatory",
    "shipyard",
    "brewery",
    "school",
    "orchard",
    "hospital",
    "foundry",
)
