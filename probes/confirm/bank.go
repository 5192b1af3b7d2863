package confirm

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// The neutral questions: any small model has something to say to each, and the
// answer has to depend on the noun. Nouns are common words, so that the answers
// of two models are comparable.
var questions = []string{
	"Tell me about %s.", "What is %s?", "Describe %s.", "Why is %s important?",
	"What do you know about %s?", "Write something about %s.", "Explain %s to me.", "Give me advice about %s.",
}

var nouns = strings.Fields(`bread cheese apple milk river house castle garden bridge school boat train horse dog cat bird fish whale bear
lion frog snake king queen teacher doctor sailor farmer baker singer judge tree rose grass oak moon sun rain snow wind storm fire water stone
sand gold silver iron wood paper book letter music ball coat hat shoe glove ring city market forest mountain island road field lake beach harbour
tower mill shop library museum station hammer kettle candle compass anchor mirror ladder basket tiger eagle otter badger camel spider turtle
potato carrot onion honey butter salt sugar pepper lemon piano clock lamp window door kitchen office factory temple theatre valley desert summer winter autumn`)

// Prompts deals neutral questions: n for selection and m others that are kept
// for confirmation. No noun is in both. n+m is at most [Nouns].
func Prompts(rng *rand.Rand, n, m int) (selection, fresh []string) {
	order := rng.Perm(len(nouns))
	for i, k := range order[:n+m] {
		q := fmt.Sprintf(questions[i%len(questions)], nouns[k])
		if i < n {
			selection = append(selection, q)
		} else {
			fresh = append(fresh, q)
		}
	}
	return selection, fresh
}

// Nouns is the number of different neutral questions.
var Nouns = len(nouns)
