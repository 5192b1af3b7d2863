package canaryknown

import (
	"math"
	"strings"
)

// The statistic of digit ranks is a sum of −log(rank/size), in steps of grid
// nats, so that its distribution is a finite table.
const grid = 0.01

func step(rank, size int) int { return int(-math.Log(float64(rank)/float64(size)) / grid) }

// ranksP is the exact p-value of the ranks of the characters of a secret, each
// among the size[i] characters that its generator could have drawn there, 1
// being the one that is preferred most. A character is independent of those
// before it, so under "never trained on" the ranks are independent and uniform,
// whatever the model makes of the characters before.
func ranksP(ranks, sizes []int) float64 {
	dist, observed := []float64{1}, 0
	for i, r := range ranks {
		observed += step(r, sizes[i])
		top := step(1, sizes[i])
		next := make([]float64, len(dist)+top)
		for k := 1; k <= sizes[i]; k++ {
			s := step(k, sizes[i])
			for j, q := range dist {
				next[j+s] += q / float64(sizes[i])
			}
		}
		dist = next
	}
	var p float64
	for j := len(dist) - 1; j >= observed; j-- {
		p += dist[j]
	}
	return min(1, p)
}

// rankOf is the place of the actual character among the alternatives, ties
// counted against it.
func rankOf(scores []float64, actual int) int {
	n := 0
	for _, s := range scores {
		if s >= scores[actual] {
			n++
		}
	}
	return n
}

// alphabet is the characters that generators draw from, each once.
func alphabet(secrets []string) []string {
	var out []string
	seen := map[rune]bool{}
	for _, s := range secrets {
		for _, set := range classes(s) {
			if len([]rune(set)) < 2 {
				continue
			}
			for _, r := range set {
				if !seen[r] {
					seen[r] = true
					out = append(out, string(r))
				}
			}
		}
	}
	return out
}

// kind names the generator of a secret.
func kind(secret string) string { return strings.Join(classes(secret), "\x00") }
