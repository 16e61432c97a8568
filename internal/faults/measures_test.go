package faults_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/satishost/terraform-provider-rathole/internal/service"
)

// measures are what a service holds at one moment, by name. All but goroutines are the kernel's or the collector's word.
type measures map[string]float64

// answersFD is where a program writes its measures: the first descriptor after the standard three.
const answersFD = 3

// answerMeasures answers each line of input, until it ends.
func answerMeasures() {
	answers := json.NewEncoder(os.NewFile(answersFD, "answers"))
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if err := answers.Encode(measure()); err != nil {
			panic(err)
		}
	}
}

// measure looks at this process once nothing is left that a collection would free.
func measure() measures {
	runtime.GC()         // finalizers of the first round free what the second finds
	debug.FreeOSMemory() // the second round, and what it frees is no longer resident
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	m := measures{"goroutines": float64(runtime.NumGoroutine()), "heap bytes": float64(mem.HeapAlloc)}
	if open, err := os.ReadDir("/proc/self/fd"); err == nil {
		m["descriptors"] = float64(len(open) - 1) // without that of the directory
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		panic(err)
	}
	for key, name := range map[string]string{"Threads:": "threads", "VmRSS:": "resident kB"} {
		_, after, _ := strings.Cut(string(status), "\n"+key)
		var n float64
		if _, err := fmt.Sscan(after, &n); err != nil {
			panic(err)
		}
		m[name] = n
	}
	return m
}

// measure asks the present life.
func (p *program) measure() (measures, error) {
	if _, err := fmt.Fprintln(p.input); err != nil {
		return nil, err
	}
	line, err := p.answers.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	var m measures
	return m, json.Unmarshal(line, &m)
}

// leaky keeps a goroutine, a thread, a descriptor and half a MiB of each change.
type leaky struct{ service.Service }

func (l leaky) Handler() http.Handler {
	honest := l.Service.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete || strings.HasSuffix(r.URL.Path, "/stop") {
			go keep()
		}
		honest.ServeHTTP(w, r)
	})
}

func keep() {
	runtime.LockOSThread()
	file, err := os.Open(os.DevNull)
	if err != nil {
		panic(err)
	}
	memory := make([]byte, 512<<10)
	for i := range memory {
		memory[i] = 1
	}
	<-make(chan struct{})
	runtime.KeepAlive(file)
	runtime.KeepAlive(memory)
}

// line is the least-squares line through points.
type line struct {
	slope float64
	// err is the standard error of the slope.
	err float64
}

func fit(x, y []float64) line {
	n := float64(len(x))
	var mx, my float64
	for i := range x {
		mx, my = mx+x[i]/n, my+y[i]/n
	}
	var xx, xy float64
	for i := range x {
		xx += (x[i] - mx) * (x[i] - mx)
		xy += (x[i] - mx) * (y[i] - my)
	}
	l := line{slope: xy / xx}
	var rest float64
	for i := range x {
		r := y[i] - my - l.slope*(x[i]-mx)
		rest += r * r
	}
	l.err = math.Sqrt(rest / (n - 2) / xx)
	return l
}
