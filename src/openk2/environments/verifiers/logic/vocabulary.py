"""Words that puzzles are told in; every one a single word of ASCII letters."""

from collections.abc import Mapping

__all__ = ["ATTRIBUTES", "NAMES", "WORDS"]

_NAMES = (
    "Ada Amir Anna Ben Bruno Carla Chen Clara Dana David Dora Elif Emil Emma Erik Eva Farid "
    "Felix Fiona Frida Gina Goran Grace Hana Hector Hugo Ida Igor Ines Ivan Jana Jonas Julia "
    "Kai Karim Kira Lars Laura Leo Lena Lucia Maja Marco Maria Mila Nadia Nils Nina Noah Nora "
    "Olga Omar Oscar Paula Pavel Petra Quinn Rafael Rita Rosa Samir Sara Simon Sofia Tara Theo "
    "Tomas Uma Vera Victor Viola Walter Wanda Xenia Yara Yusuf Zara Zeno"
)
_ATTRIBUTES = {
    "drink": "tea coffee milk water juice cocoa cider lemonade broth soda",
    "pet": "cat dog parrot hamster turtle rabbit goldfish horse canary ferret",
    "job": "baker doctor teacher painter plumber lawyer farmer pilot tailor nurse",
    "sport": "tennis chess rowing golf boxing fencing judo cricket archery curling",
    "fruit": "apple banana cherry grape mango peach pear plum orange kiwi",
    "instrument": "piano violin flute guitar drum harp cello trumpet banjo clarinet",
    "colour": "red blue green yellow white black purple brown pink grey",
}
_WORDS = (
    "about above across after again air almost along always among animal answer apple arrive "
    "ask autumn back ball bank basket bear beautiful before begin behind bell below better "
    "between big bird black blue boat body book border bottle box branch brave bread bridge "
    "bright bring brother build busy butter buy cake call camera camp candle captain careful "
    "carry castle cat catch center chair chance change cheap cheese child circle city clean "
    "clear climb clock close cloud coast coat cold color come cook copper corner cotton count "
    "country cover cross crowd cup dance danger dark daughter deep desert dinner distant doctor "
    "door double down dozen dream dress drive early earth east easy edge eight empty engine "
    "enough evening every exact expect eye face fact fall family famous far farm fast father "
    "field fight find finger finish fire first fish five flag flat floor flower fly follow food "
    "foot forest forget fork fox free fresh friend front fruit full game garden gate gentle "
    "give glass gold good grand grass great green ground group grow guess guide hand happy "
    "harbor hard heart heavy help hidden high hill hold home honest hope horse hotel hour house "
    "huge hundred hungry ice idea iron island jacket journey judge jump just keep key kind king "
    "kitchen knife know ladder lake lamp land large last late laugh leaf learn leave left lemon "
    "letter level light line lion listen little long lost loud lucky lunch machine many map "
    "market master match meadow meet melon memory metal middle mile milk mind mirror money "
    "month moon morning mother mountain mouse music narrow near neck never night nine noise "
    "north number ocean office often old onion open orange order other oven owner page paint "
    "palace paper parcel park path peace pencil people pepper piano picture pilot place plain "
    "planet plant plate play pocket point pond power press price prince proud pupil queen "
    "question quick quiet rabbit rain read ready record red rest return rice rich ride right "
    "ring river road rock roof room root rose round royal rule sail salt same sand school sea "
    "season second secret seed seven shade shape sharp sheep ship shirt shoe shop short silver "
    "simple singer sister sleep slow small smile snow soft soldier song soup south space spoon "
    "spring square stable star station steel stone storm story strange street strong student "
    "sugar summer sun supper sweet table tail tall teacher tell ten thick third thousand three "
    "thunder ticket tiger time today together tomorrow tower town train travel tree true turn "
    "twelve under uncle useful valley village violin visit voice wagon wait walk wall warm "
    "watch water wave weather week west wheel white wide wild window winter wise wonder wood "
    "word world yellow yesterday young zebra"
)

NAMES: tuple[str, ...] = tuple(_NAMES.split())
WORDS: tuple[str, ...] = tuple(_WORDS.split())
ATTRIBUTES: Mapping[str, tuple[str, ...]] = {"name": NAMES} | {
    attribute: tuple(words.split()) for attribute, words in _ATTRIBUTES.items()
}
