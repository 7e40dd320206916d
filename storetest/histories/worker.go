package histories

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/clock"
)

// message is a call on its way to a worker process, or the answer on its way back.
type message struct {
	Number int
	Call   call   `json:",omitzero"`
	Answer answer `json:",omitzero"`
}

// Serve makes calls for the process that started this one: see [Config]. It reads the calls from in
// and writes the answers to out. It returns when in ends. The process must write nothing else to
// out.
func Serve(ctx context.Context, store auth.Store, in io.Reader, out io.Writer) error {
	var mu sync.Mutex
	var all sync.WaitGroup
	defer all.Wait()
	encoder := json.NewEncoder(out)
	if err := encoder.Encode(message{}); err != nil { // reports that the store is open
		return err
	}
	for decoder := json.NewDecoder(in); ; {
		var m message
		if err := decoder.Decode(&m); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		all.Go(func() {
			a := m.Call.on(ctx, store)
			mu.Lock()
			defer mu.Unlock()
			_ = encoder.Encode(message{Number: m.Number, Answer: a}) // fails if the parent has ended
		})
	}
}

// worker is a process that makes calls. If the process has been killed, the next call starts it
// again.
type worker struct {
	start func() *exec.Cmd

	mu      sync.Mutex
	cmd     *exec.Cmd // nil if no process is running
	in      *json.Encoder
	number  int
	waiting map[int]chan answer

	receivers sync.WaitGroup
}

// call sends the call to the process. If the process ends before it has answered, the outcome is
// unknown.
func (w *worker) call(_ context.Context, c call) answer {
	w.mu.Lock()
	for attempt := 1; w.cmd == nil; attempt++ {
		if err := w.launch(); err != nil && attempt == launches {
			w.mu.Unlock()
			return answer{Error: notSent, Detail: err.Error()}
		}
	}
	w.number++
	reply := make(chan answer, 1)
	w.waiting[w.number] = reply
	err := w.in.Encode(message{Number: w.number, Call: c})
	w.mu.Unlock()
	if err != nil { // the process may have received the call nevertheless
		return answer{Error: unknown, Detail: err.Error()}
	}
	return <-reply
}

// launches is the maximum number of attempts to start a process. While connections are cut, a
// process can fail to open the store.
const launches = 20

// launch starts the process, and waits until the process has opened the store.
func (w *worker) launch() error {
	cmd := w.start()
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	decoder := json.NewDecoder(bufio.NewReader(out))
	if err := decoder.Decode(new(message)); err != nil {
		_ = cmd.Process.Kill()
		return errors.Join(err, cmd.Wait())
	}
	w.cmd, w.in, w.waiting = cmd, json.NewEncoder(in), map[int]chan answer{}
	w.receivers.Go(func() { w.receive(cmd, decoder) })
	return nil
}

// receive passes the answers of the process on until the process ends.
func (w *worker) receive(cmd *exec.Cmd, decoder *json.Decoder) {
	for {
		var m message
		if err := decoder.Decode(&m); err != nil {
			break
		}
		w.mu.Lock()
		reply := w.waiting[m.Number]
		delete(w.waiting, m.Number)
		w.mu.Unlock()
		reply <- m.Answer
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cmd = nil
	for _, reply := range w.waiting {
		reply <- answer{Error: unknown, Detail: "the process has ended"}
	}
}

// signal calls send with the process, and reports whether there is a process and send succeeded.
func (w *worker) signal(send func(*os.Process) error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cmd != nil && send(w.cmd.Process) == nil
}

const workers = 2

// clients returns the clients of a history.
func (r *runner) clients() []target {
	clients := make([]target, r.Clients)
	for i := range clients {
		clients[i] = inProcess{r.store}
	}
	if r.Worker == nil {
		return clients
	}
	for len(r.workers) < workers {
		r.workers = append(r.workers, &worker{start: r.Worker})
	}
	for i := range r.Clients / 2 {
		clients[i] = r.workers[i%workers]
	}
	return clients
}

// stop ends the worker processes.
func (r *runner) stop() {
	for _, w := range r.workers {
		w.signal((*os.Process).Kill)
		w.receivers.Wait()
	}
}

// faultInterval is the maximum time between two faults.
const faultInterval = 300 * time.Millisecond

// callsPerFault is the least number of calls of a history for each fault. If calls are slow, for
// example with the race detector, too many faults would leave too many outcomes unknown.
const callsPerFault = 20

// faults causes faults until the returned function is called.
func (r *runner) faults(seed uint64) (stop func()) {
	if r.Worker == nil && r.Disturb == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	random := rand.New(rand.NewPCG(seed, 0))
	all.Go(func() {
		for range r.Calls / callsPerFault {
			if clock.Sleep(ctx, time.Duration(random.Int64N(int64(faultInterval)))) != nil {
				return
			}
			r.fault(ctx, random)
		}
	})
	return func() {
		cancel()
		all.Wait()
	}
}

// fault causes one fault.
func (r *runner) fault(ctx context.Context, random *rand.Rand) {
	if r.Disturb != nil && (len(r.workers) == 0 || random.IntN(2) == 0) {
		r.Disturb()
		r.report.Disturbed++
		return
	}
	w := r.workers[random.IntN(len(r.workers))]
	if random.IntN(2) == 0 {
		if w.signal((*os.Process).Kill) {
			r.report.Killed++
		}
		return
	}
	if w.signal(stopProcess) {
		r.report.Stopped++
		_ = clock.Sleep(ctx, time.Duration(random.Int64N(int64(50*time.Millisecond)))) // if ctx ends, at once
		w.signal(continueProcess)
	}
}
