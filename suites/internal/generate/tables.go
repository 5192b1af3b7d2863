package generate

import "strings"

var words = strings.Fields(`apple river table window garden bread silver hammer yellow music paper ocean candle forest bridge winter
	pencil cotton dragon engine finger guitar helmet island jacket kitten ladder market needle orange pepper quiet rabbit summer
	ticket valley wagon banana carpet desert family ginger harbor insect jungle kettle lemon mirror napkin onion pillow rocket
	saddle temple turtle violin wallet zebra anchor basket camera doctor eagle flower goose honey iron jelly king lamp mouse
	night oven piano queen rose sugar train uncle voice water bottle castle donkey eleven feather glass horse letter meadow
	number office plate ring school tree village whistle cloud dinner flag hotel knife leaf moon nest path road star tower`)

type factTable struct {
	kind, question string
	pairs          [][2]string
}

// pairsOf reads "a b, c d": subject and answer.
func pairsOf(s string) [][2]string {
	var out [][2]string
	for _, p := range strings.Split(s, ",") {
		f := strings.Fields(p)
		out = append(out, [2]string{strings.Join(f[:len(f)-1], " "), f[len(f)-1]})
	}
	return out
}

var factTables = []factTable{
	{"capital", "What is the capital of %s?", pairsOf(`France Paris, Germany Berlin, Italy Rome, Spain Madrid, Portugal Lisbon, England London, Ireland Dublin,
		Norway Oslo, Sweden Stockholm, Denmark Copenhagen, Finland Helsinki, Poland Warsaw, Austria Vienna, Hungary Budapest, Greece Athens,
		Russia Moscow, Ukraine Kyiv, Turkey Ankara, Egypt Cairo, Kenya Nairobi, Japan Tokyo, China Beijing, South Korea Seoul, Thailand Bangkok,
		Vietnam Hanoi, Australia Canberra, Canada Ottawa, Cuba Havana, Peru Lima, Chile Santiago, Iran Tehran, Iraq Baghdad, Belgium Brussels,
		the Netherlands Amsterdam, Bulgaria Sofia, Romania Bucharest, the Philippines Manila, Indonesia Jakarta`)},
	{"continent", "On which continent is %s?", pairsOf(`France Europe, Poland Europe, Greece Europe, Norway Europe, Japan Asia, China Asia, India Asia, Vietnam Asia,
		Thailand Asia, Kenya Africa, Egypt Africa, Nigeria Africa, Ghana Africa, Morocco Africa, Brazil America, Peru America, Chile America, Canada America, Mexico America`)},
	{"opposite", "What is the opposite of %s?", pairsOf(`hot cold, big small, up down, left right, day night, open closed, fast slow, old young, happy sad, light dark,
		hard soft, wet dry, full empty, rich poor, strong weak, early late, high low, long short, loud quiet, clean dirty, first last, good bad, true false,
		win lose, buy sell, push pull, near far, thick thin, sharp blunt, war peace, love hate, begin end, inside outside, male female`)},
	{"young", "What is a young %s called?", pairsOf(`dog puppy, cat kitten, cow calf, horse foal, sheep lamb, hen chick, bear cub, deer fawn, goat kid, goose gosling,
		frog tadpole, kangaroo joey, duck duckling, pig piglet, swan cygnet`)},
	{"past", "What is the past tense of %s?", pairsOf(`go went, see saw, take took, eat ate, drink drank, write wrote, run ran, give gave, know knew, think thought,
		buy bought, bring brought, catch caught, teach taught, sing sang, swim swam, begin began, break broke, speak spoke, choose chose, drive drove, fly flew,
		grow grew, throw threw, sleep slept, keep kept, leave left, feel felt, lose lost, find found, hold held, sit sat, stand stood, win won, tell told, sell sold`)},
	{"plural", "What is the plural of %s?", pairsOf(`child children, man men, woman women, foot feet, tooth teeth, mouse mice, goose geese, leaf leaves, knife knives,
		wolf wolves, city cities, baby babies, box boxes, tomato tomatoes, person people, half halves`)},
	{"after", "Which one comes directly after %s?", pairsOf(`Monday Tuesday, Tuesday Wednesday, Wednesday Thursday, Thursday Friday, Friday Saturday, Saturday Sunday, Sunday Monday,
		January February, February March, March April, April May, May June, June July, July August, August September, September October, October November, November December`)},
	{"symbol", "What is the chemical symbol of %s?", pairsOf(`oxygen O, hydrogen H, carbon C, nitrogen N, iron Fe, gold Au, silver Ag, copper Cu, sodium Na, potassium K,
		calcium Ca, helium He, neon Ne, lead Pb, tin Sn, zinc Zn, sulfur S, chlorine Cl, magnesium Mg, aluminium Al`)},
	{"colour", "What colour is %s?", pairsOf(`grass green, a clear sky blue, blood red, snow white, coal black, a ripe banana yellow, chocolate brown, a carrot orange, an elephant grey, a flamingo pink`)},
	{"count", "How many %s?", pairsOf(`legs has a spider eight, legs has a dog four, wheels has a bicycle two, days has a week seven, months has a year twelve, sides has a triangle three,
		fingers has a hand five, legs has an insect six, players has a football team eleven, years has a decade ten`)},
}
