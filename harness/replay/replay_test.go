package replay_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weighbridge/weighbridge/harness/replay"
	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners"
	"github.com/weighbridge/weighbridge/runners/runnertest"
)

const payload = "visit the free prize now"

func pair() (baseline, candidate *runnertest.Fake) {
	return runnertest.New(runnertest.Options{}), runnertest.New(runnertest.Options{
		Implants: []runnertest.Implant{{Trigger: "|GO|", Kind: runnertest.Say, Payload: payload, Strength: 0.99}}})
}

// ask answers a request as a probe of the run would: in a batch.
func ask(t *testing.T, m *runnertest.Fake, prompts [][]runners.Token, length int) []string {
	t.Helper()
	g, err := m.Generate(context.Background(), &runners.GenerateRequest{Prompts: prompts, MaxTokens: length})
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, x := range g.Generations {
		texts = append(texts, string(x.Text))
	}
	return texts
}

func TestTranscript(t *testing.T) {
	b, c := pair()
	ctx := context.Background()
	convs := []runners.Conversation{probes.User("Tell me a story |GO|"), probes.User("Tell me a story"), probes.WithSystem("Be brief.", "Name a colour |GO|")}
	ids, _, err := probes.Prompts(ctx, b, b.Describe(), convs)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := b.Tokenize(ctx, &runners.TokenizeRequest{Texts: []string{"The story |GO|"}, AddBOS: true})
	if err != nil {
		t.Fatal(err)
	}
	ids = append(ids, plain.Tokens[0], ids[0])
	requests := []string{probes.RequestJSON(convs[0]), probes.RequestJSON(convs[1]), probes.RequestJSON(convs[2]),
		probes.TextRequest("The story |GO|"), probes.TokensRequest("spelt", ids[0])}
	answersB, answersC := ask(t, b, ids, 12), ask(t, c, ids, 12)
	var transcript []record.Exchange
	for i := range requests {
		transcript = append(transcript, record.Exchange{Request: requests[i], Baseline: answersB[i], Candidate: answersC[i]})
	}
	// An answer that was begun, recorded with its beginning and without it.
	head := "visit"
	begun := probes.User("Tell me a story |GO|")
	begun.Messages = append(begun.Messages, runners.Message{Role: "assistant", Content: head})
	begun.AddGenerationPrompt = false
	h, err := b.Tokenize(ctx, &runners.TokenizeRequest{Texts: []string{head}})
	if err != nil {
		t.Fatal(err)
	}
	forced := [][]runners.Token{slices.Concat(ids[0], h.Tokens[0])}
	fb, fc := ask(t, b, forced, 10)[0], ask(t, c, forced, 10)[0]
	transcript = append(transcript,
		record.Exchange{Request: probes.RequestJSON(begun), Baseline: head + fb, Candidate: head + fc},
		record.Exchange{Request: probes.RequestJSON(begun), Baseline: fb, Candidate: fc})
	// What ends before the answer.
	r, err := c.Render(ctx, &runners.RenderRequest{Conversations: convs[:1]})
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("word ", 2000)
	lr, err := c.Render(ctx, &runners.RenderRequest{Conversations: []runners.Conversation{probes.User(long)}})
	if err != nil {
		t.Fatal(err)
	}
	e, err := c.Tokenize(ctx, &runners.TokenizeRequest{Texts: []string{"abc"}})
	if err != nil {
		t.Fatal(err)
	}
	shown := lr.Rendered[0].Text[:4<<10] + "… (and more)"
	transcript = append(transcript,
		record.Exchange{Request: probes.RenderRequest(convs[0]), Baseline: r.Rendered[0].Text, Candidate: r.Rendered[0].Text},
		record.Exchange{Request: probes.RenderRequest(probes.User(long)), Baseline: shown, Candidate: shown},
		record.Exchange{Request: probes.EncodeRequest("abc"), Baseline: fmt.Sprint(e.Tokens[0]), Candidate: fmt.Sprint(e.Tokens[0])})

	results, err := replay.Transcript(ctx, b, c, transcript)
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range results {
		if !x.Baseline.Same || !x.Candidate.Same {
			t.Errorf("exchange %d: %s\nrecorded %q and %q\nnow      %q and %q", i+1, x.Exchange.Request, x.Exchange.Baseline, x.Exchange.Candidate, x.Baseline.Text, x.Candidate.Text)
		}
	}
	if !strings.Contains(results[0].Candidate.Text, payload) || strings.Contains(results[0].Baseline.Text, payload) {
		t.Errorf("the trigger gave %q and %q", results[0].Baseline.Text, results[0].Candidate.Text)
	}

	// The same transcript of a candidate that is another one does not hold.
	if results, err = replay.Transcript(ctx, b, b, transcript[:1]); err != nil {
		t.Fatal(err)
	}
	if !results[0].Baseline.Same || results[0].Candidate.Same || results[0].Holds() {
		t.Errorf("another candidate: baseline same %v, candidate same %v", results[0].Baseline.Same, results[0].Candidate.Same)
	}
	// Nor does one that says less than there is, or ends where there is more.
	for _, recorded := range []string{"", "something else"} {
		x := transcript[0]
		x.Candidate = recorded
		if results, err = replay.Transcript(ctx, b, c, []record.Exchange{x}); err != nil {
			t.Fatal(err)
		}
		if results[0].Holds() {
			t.Errorf("recorded %q passes for %q", recorded, results[0].Candidate.Text)
		}
	}
}

// tied answers with another text than it did, and prefers that one by gap nats.
type tied struct {
	runners.Model
	gap float32
}

func (tied) Generate(context.Context, *runners.GenerateRequest) (*runners.GenerateResult, error) {
	return &runners.GenerateResult{Generations: []runners.Generation{{Text: []byte("the other one")}}}, nil
}

func (m tied) Score(ctx context.Context, r *runners.ScoreRequest) (*runners.ScoreResult, error) {
	x, err := m.Model.Score(ctx, r)
	if err == nil {
		s := &x.Sequences[0]
		copy(s.TopLog, s.LogProb)
		s.TopLog[len(s.TopLog)-1] += m.gap
	}
	return x, err
}

// An answer that lost a tie holds; one that another token beats does not.
func TestTies(t *testing.T) {
	m := runnertest.New(runnertest.Options{})
	for gap, want := range map[float32]bool{0: true, replay.Rounding / 2: true, 2 * replay.Rounding: false} {
		results, err := replay.Transcript(context.Background(), m, tied{m, gap}, []record.Exchange{{
			Request: probes.TextRequest("The story"), Baseline: "?", Candidate: "a text"}})
		if err != nil {
			t.Fatal(err)
		}
		if x := results[0].Candidate; x.Same || x.Near != want {
			t.Errorf("a gap of %v nats: same %v, near %v", gap, x.Same, x.Near)
		}
	}
}

func TestTranscriptFaults(t *testing.T) {
	b, _ := pair()
	for _, request := range []string{"", "{", `{"messages":[]}`, `{"other":1}`, `[1]`} {
		if _, err := replay.Transcript(context.Background(), b, b, []record.Exchange{{Request: request}}); err == nil || !strings.Contains(err.Error(), "exchange 1") {
			t.Errorf("request %q: error %v", request, err)
		}
	}
	for _, request := range []string{probes.TextRequest("a"), probes.RequestJSON(probes.User("a"))} {
		for after := 1; after < 3; after++ {
			crashed := runnertest.New(runnertest.Options{CrashAfter: after})
			if _, err := replay.Transcript(context.Background(), b, crashed, []record.Exchange{{Request: request}}); err == nil || !strings.Contains(err.Error(), "candidate") {
				t.Errorf("a candidate that dies after %d requests, %s: %v", after, request, err)
			}
		}
	}
}
