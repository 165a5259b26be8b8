"""The words of the tasks and of the honest writer; no two of the pools share a word."""

from collections.abc import Mapping

__all__ = ["KEYWORDS", "LANGUAGES", "PALINDROMES", "PATTERN", "PHRASES", "POOLS"]

# What constraints ask for.
KEYWORDS_TEXT = """anchor basket candle compass copper cradle crystal dagger drum ember envelope
    falcon feather flute fountain goblet hammer harp helmet horizon ivory jasmine
    jewel kettle ladder lemon lilac magnet mango maple marble mirror needle nickel
    olive orchid paddle parcel pebble pepper pigeon pillow puzzle quartz rabbit
    ribbon saddle scarf shovel spiral sponge statue sugar tablet thimble ticket
    timber trumpet tulip tunnel turtle umbrella velvet violin walnut whistle willow
    zebra blanket bottle bracelet button cabinet carpet chimney cinnamon coral
    cotton cricket curtain daisy donkey eagle engine fiddle garlic ginger granite
    hazel honey igloo jacket juniper kitten locket lobster meadow mitten nutmeg
    oyster parrot pirate pocket pottery prism pumpkin"""
KEYWORDS = tuple(KEYWORDS_TEXT.split())

PALINDROMES = ("level", "radar", "civic", "noon", "refer", "kayak", "rotor", "madam", "deed")

# Last words that a text can be asked to close with.
PHRASES = (
    "That is all for today.",
    "And so it began.",
    "Nothing more was said.",
    "Tomorrow will tell.",
    "The rest is silence.",
    "We shall see.",
    "Let us hear from you.",
    "It was worth the wait.",
    "Who could ask for more?",
    "Now you know.",
)

# What sentences are made of, in this order, over and over.
PATTERN = ("article", "adjective", "noun", "verb", "preposition", "adjective", "noun", "adverb")

# The adjectives include enough of every initial, and enough without each letter.
ENGLISH = {
    "article": "the a one this that each every some any another",
    "adjective": """amber ancient bold brave bright brisk broad calm clean clear clever cold cool
    crisp curious damp dark deep distant dim dry dusty eager early easy elegant
    empty faint fair familiar fine firm fresh full gentle glad golden grand gray
    green happy heavy high hidden humble icy idle inner jolly joyful just keen kind
    known large late light little local lone loud lovely merry mild misty modest
    narrow neat new noble odd old open orange pale patient plain polite proud pure
    quaint quick quiet rapid rare ready rich rough round royal rustic sandy secret
    sharp short silent simple slim slow small smooth soft solid spare steady still
    stout strong sturdy subtle sunny sweet swift tall tender thick thin tidy tiny
    tough usual upper unusual urban vast vivid vital warm weary wet white wide wild
    windy wise wooden yellow young zesty exact extra""",
    "noun": """afternoon air alley apple area art attic autumn bank barn bay beach bell bench
    bird boat book bowl branch bread breeze brook brother brush cabin cat chair
    child city class cliff cloud coast coat coin color corner country cousin crowd
    cup dance dawn day dish dog door dream dust ear earth east edge evening event
    eye face family farm father field fish fleet flock floor flower forest friend
    fruit game gate girl glass grass group guest hall hand hat hill home hope hour
    house idea inn island item job journey joy key kid king kitchen knot lake lamb
    land lane leaf lesson life line lion look man map mind minute month moon moss
    mother mouth music name nation neighbor nest night north notion nurse oak ocean
    office orchard owl owner page paint park path peak pine place plan plant plate
    pond porch price prince queen quest question quilt rain reason reply ring risk
    road rock roof room root rope rug sail salt sand school sea season shade ship
    shirt shoe shop shore sign sister sky smoke snow son song sound south spot
    spring stair star step stone storm stream street summer sun table tale tea team
    thing thought tide time town trail train tree trip truth turn uncle union unit
    valley view village visit voice vow wagon walk wall watch wave way week well
    west wind wing winter wish woman wood wool word work world yacht yard year youth
    zone zoo""",
    "verb": """asked arrived began bent blew bloomed brought built called came carried caught
    changed chose climbed crossed danced drew drifted drove enjoyed entered fell
    felt flew followed formed found gave glowed grew guarded guided heard held
    helped hid invited joined jumped kept kissed knew laid landed led left liked lit
    lived looked lost loved made met missed moved needed noticed offered paused
    passed picked pulled pushed put ran reached read rested rode rose sailed sang
    sat saw sent shone showed slept sold sought spoke spun stood stayed swam swung
    taught thanked told took touched traced tried turned used urged visited waited
    walked warmed went won wrote yielded zoomed""",
    "preposition": """about above across after against along among around at behind below beneath
    beside beyond by down during for from in inside into near of off on onto over
    past through to toward under until up upon with within without""",
    "adverb": """again almost also alone always away boldly bravely calmly daily dearly early
    easily ever exactly fairly fast finally firmly freely gently gladly here highly
    hourly instead just justly keenly kindly lately lightly long loudly maybe mildly
    more mostly nearly neatly never nicely nightly now often once only openly
    perhaps plainly proudly quickly quietly quite rarely readily really safely
    silently simply slowly smoothly softly soon still strongly sweetly swiftly then
    there together tonight truly twice usually very warmly wholly widely wildly
    yearly yesterday yet zestfully""",
}

# Other languages: enough to write in, every second or third word a stop word.
FRENCH = {
    "article": "le la les une ce cette son sa",
    "adjective": "petite grande vieille jeune belle claire douce calme simple longue",
    "noun": "maison route ville fenêtre lumière rivière montagne histoire voix musique pluie porte "
    "fille femme main table forêt plage famille journée",
    "verb": "regarde trouve porte cherche écoute traverse garde montre ouvre suit appelle raconte",
    "preposition": "dans pour sur avec par et qui est",
    "adverb": "souvent toujours encore ici doucement enfin demain aujourd'hui",
}
SPANISH = {
    "article": "el la los una este esta su las",
    "adjective": "pequeña grande vieja joven hermosa clara dulce tranquila simple larga",
    "noun": "casa calle ciudad ventana luz montaña historia voz música lluvia puerta niña mujer "
    "mesa playa familia tarde noche carta plaza",
    "verb": "mira encuentra lleva busca escucha cruza guarda muestra abre sigue llama cuenta",
    "preposition": "en por con sobre y para desde entre",
    "adverb": "siempre todavía aquí despacio mañana nunca hoy pronto",
}
GERMAN = {
    "article": "der die das ein eine dem den des",
    "adjective": "kleine große alte junge schöne klare stille lange helle warme",
    "noun": "Haus Straße Stadt Fenster Licht Berg Geschichte Stimme Musik Regen Tür Mädchen Frau "
    "Hand Tisch Wald Strand Familie Tag Brücke",
    "verb": "sieht findet trägt sucht hört kreuzt hält zeigt öffnet folgt ruft erzählt",
    "preposition": "in mit auf für von bei nach aus",
    "adverb": "oft immer hier langsam morgen heute bald gern",
}
ITALIAN = {
    "article": "il la gli della una questa sua lo",
    "adjective": "piccola grande vecchia giovane bella chiara dolce calma semplice lunga",
    "noun": "casa strada città finestra luce montagna storia voce musica pioggia porta ragazza "
    "donna mano tavola spiaggia famiglia giornata lettera piazza",
    "verb": "guarda trova porta cerca ascolta attraversa tiene mostra apre segue chiama racconta",
    "preposition": "in con per di nella dalla e che",
    "adverb": "spesso sempre ancora qui piano domani oggi presto",
}

LANGUAGES: tuple[str, ...] = ("French", "Spanish", "German", "Italian")
POOLS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    language: {kind: tuple(dict.fromkeys(words.split())) for kind, words in pools.items()}
    for language, pools in {
        "English": ENGLISH,
        "French": FRENCH,
        "Spanish": SPANISH,
        "German": GERMAN,
        "Italian": ITALIAN,
    }.items()
}
