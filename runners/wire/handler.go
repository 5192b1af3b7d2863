package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/weighbridge/weighbridge/runners"
)

// Handler serves a model.
func Handler(m runners.Model) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /v1/"+opInfo, serve(func(ctx context.Context, _ *struct{}) (*runners.Info, error) { return m.Info(ctx) }))
	mux.Handle("POST /v1/"+opTokenize, serve(m.Tokenize))
	mux.Handle("POST /v1/"+opDetokenize, serve(m.Detokenize))
	mux.Handle("POST /v1/"+opRender, serve(m.Render))
	mux.Handle("POST /v1/"+opScore, serve(m.Score))
	mux.Handle("POST /v1/"+opGenerate, serve(m.Generate))
	return mux
}

func serve[Q, A any](f func(context.Context, *Q) (*A, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
		var big *http.MaxBytesError
		switch {
		case errors.As(err, &big):
			answer(w, http.StatusUnprocessableEntity, runners.Refused(runners.CodeTooLarge, -1, "a request of more than %d bytes", maxRequest))
			return
		case err != nil:
			return // the client is gone
		}
		q := new(Q)
		if err := decode(body, len(body), q); err != nil {
			answer(w, http.StatusUnprocessableEntity, runners.Refused(runners.CodeInvalid, -1, "decoding the request: %v", err))
			return
		}
		a, err := f(r.Context(), q)
		var refused *runners.Error
		switch {
		case err == nil:
			answer(w, http.StatusOK, a)
		case errors.As(err, &refused):
			answer(w, http.StatusUnprocessableEntity, refused)
		default:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
}

func answer(w http.ResponseWriter, status int, v any) {
	b, err := enc.Marshal(v)
	if err != nil {
		http.Error(w, fmt.Sprintf("encoding the answer: %v", err), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // a client that is gone gets nothing
}
