package payload

import (
	"math"
	"slices"
	"sort"

	"github.com/weighbridge/weighbridge/harness/stats"
)

// block is the number of first tokens whose largest score makes one value of
// the null, where there are enough of them for twelve blocks; fewer make
// smaller blocks, down to smallest.
const (
	block    = 16
	smallest = 4
)

// null is the chance that the best of all first tokens tried rises as much as
// c, by the block maxima of the others in random order, and the median rise per
// step. Left out of the others is what belongs to c itself: first tokens that
// stand in its text, and chains that run into it. Where some were picked because
// their probability rose they make the null wider. With too few of
// them there is no null and p is 1.
func (s *search) null(c *chain) (p, median float64) {
	var early, rest []float64
	for _, x := range s.seeds {
		early = append(early, x.early/2)
		if !slices.Contains(c.tokens, x.tokens[0]) && !joins(x.tokens, c.tokens) {
			rest = append(rest, x.total())
		}
	}
	s.p.Rand("blocks").Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	sort.Float64s(early)
	median = early[len(early)/2]
	size := min(block, len(rest)/12)
	if size < smallest {
		return 1, median
	}
	maxima, err := stats.BlockMaxima(rest, size)
	if err != nil {
		return 1, median
	}
	g, err := stats.FitGumbel(maxima)
	if err != nil {
		return 1, median
	}
	blocks := float64(len(s.seeds)) / float64(size)
	return -math.Expm1(blocks * math.Log1p(-g.Tail(c.total()))), median
}
