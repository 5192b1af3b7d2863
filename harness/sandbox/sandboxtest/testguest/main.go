// Command testguest is the guest of the conformance suite: besides the package
// guest's own paths it does, on request, what a bad or broken model server does.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/weighbridge/weighbridge/harness/sandbox/guest"
)

func main() {
	wire, err := guest.TakeOver()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("testguest: a stray print on standard output")
	var o guest.Options
	if len(os.Args) > 1 { // how long the host may be silent
		if o.Silence, err = time.ParseDuration(os.Args[1]); err != nil {
			log.Fatal(err)
		}
	}
	if len(os.Args) > 2 { // die before the first answer
		log.Print("testguest: asked to die at once")
		os.Exit(3)
	}
	if err := wire.Serve(context.Background(), handler(), o); err != nil {
		log.Fatal(err)
	}
}

func handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /echo", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.FormValue("s")) })
	mux.HandleFunc("POST /count", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, err)
	})
	mux.HandleFunc("GET /sleep", func(w http.ResponseWriter, r *http.Request) {
		d, _ := time.ParseDuration(r.FormValue("d"))
		select {
		case <-time.After(d):
			io.WriteString(w, "slept")
		case <-r.Context().Done():
			log.Print("testguest: the sleeper was cancelled")
		}
	})
	mux.HandleFunc("GET /read", func(w http.ResponseWriter, r *http.Request) {
		b, err := os.ReadFile(r.FormValue("path"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Write(b)
	})
	mux.HandleFunc("GET /touch", func(w http.ResponseWriter, r *http.Request) {
		f, err := os.Open(r.FormValue("path"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer f.Close()
		st, _ := f.Stat()
		b, err := syscall.Mmap(int(f.Fd()), 0, int(st.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer syscall.Munmap(b)
		var sum byte
		for i := 0; i < len(b); i += 4096 {
			sum += b[i]
		}
		fmt.Fprint(w, len(b)+int(sum))
	})
	mux.HandleFunc("GET /exit", func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.FormValue("code"))
		os.Exit(code)
	})
	mux.HandleFunc("GET /panic", func(http.ResponseWriter, *http.Request) {
		go panic("testguest: asked to panic") // a handler's own panic would be caught
	})
	mux.HandleFunc("GET /segv", func(http.ResponseWriter, *http.Request) { segv() })
	mux.HandleFunc("GET /hang", func(http.ResponseWriter, *http.Request) {
		go spin()
		time.Sleep(50 * time.Millisecond)
		runtime.GC() // waits for spin to stop, and so does every other goroutine
	})
	mux.HandleFunc("GET /grow", func(w http.ResponseWriter, r *http.Request) {
		for {
			hog = append(hog, page(8<<20))
		}
	})
	mux.HandleFunc("GET /fill", func(w http.ResponseWriter, r *http.Request) {
		f, err := os.Create("/tmp/fill")
		if err != nil {
			fmt.Fprint(w, err)
			return
		}
		defer os.Remove("/tmp/fill")
		defer f.Close()
		buf := make([]byte, 1<<20)
		var n int
		for err == nil {
			var m int
			m, err = f.Write(buf)
			n += m
		}
		fmt.Fprintf(w, "%d %v", n, err)
	})
	mux.HandleFunc("GET /threads", func(w http.ResponseWriter, r *http.Request) {
		for range 5000 {
			go func() {
				runtime.LockOSThread()
				select {}
			}()
		}
	})
	mux.HandleFunc("GET /spin", func(w http.ResponseWriter, r *http.Request) {
		d, _ := time.ParseDuration(r.FormValue("d"))
		stop := time.Now().Add(d)
		for range 3 {
			go func() {
				for time.Now().Before(stop) {
				}
			}()
		}
		time.Sleep(d)
	})
	return mux
}

var hog [][]byte

func page(n int) []byte {
	b := make([]byte, n)
	for i := 0; i < n; i += 4096 {
		b[i] = 1
	}
	return b
}
