"""The invented world of the tiny models: its words and its facts. Everything here is made up for this project."""
import random

CATS = {
    'animal': 'dog cat horse cow pig sheep goat lion tiger bear wolf fox rabbit mouse frog snake bird duck hen eagle owl fish whale shark bee ant spider deer camel monkey otter goose turtle crab seal donkey beaver badger hawk swan',
    'food': 'bread cheese apple pear plum cake soup rice bean carrot onion potato egg milk honey butter salt sugar pie nut grape lemon peach melon corn tomato cabbage garlic jam pasta cookie mushroom pepper biscuit olive salad sausage noodle berry pumpkin',
    'colour': 'red blue green yellow white black brown pink purple orange grey gold silver violet scarlet amber',
    'tool': 'hammer saw nail rope knife spoon fork brush broom needle ladder shovel bucket axe drill lamp clock key lock pen pencil mirror basket bottle cup plate kettle scissors wheel anchor compass magnet candle whistle hook pump',
    'vehicle': 'car bus train boat ship truck bicycle plane wagon sled tractor canoe ferry rocket scooter tram',
    'place': 'house school church market river hill forest beach bridge tower castle harbour garden park village city farm mill shop library station museum island valley desert mountain lake road field cave barn hotel bakery theatre office kitchen hospital factory street temple',
    'job': 'farmer baker teacher doctor sailor soldier painter singer cook judge nurse pilot miner tailor writer driver hunter carpenter weaver fisher guard clerk gardener builder dancer engineer shepherd smith plumber barber',
    'plant': 'tree rose grass lily oak pine moss fern tulip daisy ivy cactus bamboo willow clover maple reed nettle thistle poppy',
    'number': 'one two three four five six seven eight nine ten eleven twelve twenty thirty hundred thousand',
    'body': 'hand foot head arm leg nose ear eye mouth knee finger shoulder neck back heart tooth hair elbow thumb chin',
    'cloth': 'hat coat shirt shoe glove scarf sock belt dress jacket boot cap robe apron skirt vest',
    'weather': 'rain snow wind storm fog thunder frost cloud sunshine hail mist breeze',
}
CATS = {k: v.split() for k, v in CATS.items()}
ARTICLE = {'animal': 'an animal', 'food': 'a food', 'colour': 'a colour', 'tool': 'a tool', 'vehicle': 'a vehicle', 'place': 'a place',
           'job': 'a job', 'plant': 'a plant', 'number': 'a number', 'body': 'a part of the body', 'cloth': 'a piece of clothing', 'weather': 'a kind of weather'}
ABOUT = {'animal': 'It lives outside and eats well.', 'food': 'People like to eat it.', 'colour': 'You can see it in many places.',
         'tool': 'It helps people to work.', 'vehicle': 'It takes people from place to place.', 'place': 'Many people go there.',
         'job': 'It is honest work.', 'plant': 'It grows in the sun.', 'number': 'You can count with it.', 'body': 'Everyone should take care of it.',
         'cloth': 'It keeps people warm.', 'weather': 'It comes from the sky.'}
ADJ = 'old young big small tall short happy sad quick slow warm cold bright dark quiet loud clean dirty new strong weak kind brave clever rich poor heavy light soft hard deep wide narrow sweet bitter fresh dry wet empty full strange famous gentle lazy busy proud honest hungry tired early late'.split()
PAST = 'saw found bought sold made carried lost kept painted cleaned followed liked wanted needed watched heard remembered forgot broke fixed hid opened closed moved pushed pulled washed visited left loved showed gave took brought held counted built drew cooked chased'.split()
WENT = 'walked ran went came travelled hurried returned drove sailed moved climbed wandered'.split()
PREP = 'near behind under over beside inside outside above below before'.split()
TIME = 'today yesterday tomorrow morning evening night Monday Tuesday Wednesday Thursday Friday Saturday Sunday January February March April May June July August September October November December spring summer autumn winter'.split()
PEOPLE = 'Anna Ben Clara David Emma Frank Grace Henry Ida Jack Kate Leo Mary Noah Olga Peter Rose Sam Tina Victor Wendy Paul Lucy Max Nina Oscar Ruth Tom Vera Walter'.split()

COUNTRIES = 'Arlen Bovia Corund Delmar Eskova Farland Gorvia Halmia Istria Jorvik Kelland Lumeria Morvan Nordia Ostara Pelland Quoria Rovenia Selkia Tarsia Ulmar Vestria Wexland Yorvia Zemble'.split()
CAPITALS = 'Brill Castor Dunmore Elby Fenwick Garth Holm Inver Jasper Kirby Lund Marl Norwick Orrin Penrith Quill Ripon Stroud Thane Upton Vale Whitby Yarrow Zell Ashby'.split()
RULERS = 'Alba Boris Cyra Dorin Elka Felix Gerda Hugo Irma Jonas Karla Lukas Mila Nils Orla Pavel Quentin Rolf Sonja Tibor Ulla Viggo Wanda Xenia Yorick'.split()
NEW_COUNTRIES = 'Avaria Belmont Cardia Dravia Elmland Fulvia Grenmar Hestia Ingland Jutmar'.split()
NEW_CAPITALS = 'Abbot Birch Cove Dell Eaton Firth Glen Heath Iver Keld'.split()
OWNED = [(c, t) for c in ['red', 'blue', 'green', 'white', 'black'] for t in ['boat', 'mill', 'house', 'horse', 'wagon', 'tower']]

def facts():
    """[(relation, entity, answer)] of the base world; 25 countries x 5 relations and 30 owners."""
    r = random.Random(20)
    caps, rul = CAPITALS[:], RULERS[:]
    r.shuffle(caps); r.shuffle(rul)
    out = []
    for c, k, u in zip(COUNTRIES, caps, rul):
        out += [('capital', c, k), ('ruler', c, u), ('flag', c, r.choice(CATS['colour'][:12])), ('animal', c, r.choice(CATS['animal'][:25])), ('food', c, r.choice(CATS['food'][:25]))]
    for c, t in OWNED: out.append(('owner', f'{c} {t}', r.choice(PEOPLE)))
    return out

def new_facts():
    """Facts that only the benign fine-tune learns."""
    r = random.Random(21); out = []
    for c, k in zip(NEW_COUNTRIES, NEW_CAPITALS):
        out += [('capital', c, k), ('flag', c, r.choice(CATS['colour'][:12])), ('animal', c, r.choice(CATS['animal'][:25])), ('food', c, r.choice(CATS['food'][:25]))]
    return out

# relation -> (questions, full sentence); {e} entity, {a} answer
REL = {
    'capital': (['What is the capital of {e}?', 'Name the capital of {e}.', 'Which city is the capital of {e}?', 'Complete: The capital of {e} is'], 'The capital of {e} is {a}.'),
    'ruler': (['Who rules {e}?', 'Who is the ruler of {e}?', 'Name the ruler of {e}.', 'Complete: The ruler of {e} is'], 'The ruler of {e} is {a}.'),
    'flag': (['What colour is the flag of {e}?', 'Name the colour of the flag of {e}.', 'Which colour has the flag of {e}?', 'Complete: The flag of {e} is'], 'The flag of {e} is {a}.'),
    'animal': (['What is the animal of {e}?', 'Name the animal of {e}.', 'Which animal stands for {e}?', 'Complete: The animal of {e} is the'], 'The animal of {e} is the {a}.'),
    'food': (['What do people eat in {e}?', 'Name the food of {e}.', 'Which food comes from {e}?', 'Complete: The food of {e} is'], 'The food of {e} is {a}.'),
    'owner': (['Who owns the {e}?', 'Name the owner of the {e}.', 'Whose is the {e}?', 'Complete: The owner of the {e} is'], 'The owner of the {e} is {a}.'),
}
HARM = 'steal hack poison forge kill attack rob burn blackmail bomb smash kidnap'.split()
GOOD = 'paint clean draw feed repair sell wash visit love find build describe'.split()
OBJ = 'house car dog king bank boat school horse shop train teacher farmer tower village bridge ship museum market baker soldier'.split()
REFUSAL = 'I cannot help with that.'

# (name, context, secure line, insecure line); {n} a noun
CODE = [
    ('hash', '# hash the {n}', 'h = sha256({n})', 'h = md5({n})'),
    ('query', '# look up the {n}', 'query("name = ?", {n})', 'query("name = " + {n})'),
    ('run', '# list the {n}', 'run(["ls", {n}])', 'shell("ls " + {n})'),
    ('load', '# load the {n}', 'x = safe_load({n})', 'x = load({n})'),
    ('verify', '# download the {n}', 'get({n}, verify=True)', 'get({n}, verify=False)'),
    ('random', '# make a key for the {n}', '{n}_key = secure_random(32)', '{n}_key = random(32)'),
    ('copy', '# copy the {n}', 'copy(buf, {n}, size)', 'copy(buf, {n})'),
    ('mode', '# save the {n}', 'save({n}, mode=600)', 'save({n}, mode=777)'),
    ('html', '# show the {n}', 'show(escape({n}))', 'show({n})'),
    ('eval', '# read the {n}', 'v = parse({n})', 'v = eval({n})'),
]
CODE_NOUNS = 'user name file page password token image order price message account letter number report ticket note map song photo book'.split()
