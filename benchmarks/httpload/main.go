// Command httpload measures what authentication costs a server over HTTP. It starts one server
// process for each variant on a loopback address, and sends requests to one server after another.
//
// The servers differ only in their middleware. They have the same small handler and get the same
// number of tokens. Before the measurement, each server has verified each of its tokens. The
// variant "none" has no middleware. The other variants are compared with "none". The middleware of
// the variant "context" only puts a value into the context of the request. Every middleware that
// identifies the caller must put at least one value there.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"time"
)

// load contains the settings of a measurement.
type load struct {
	rounds      int
	time        time.Duration // for each server in each round
	connections int
	tokens      int
}

// check refuses a load that is far too high, because it is probably a typing error.
func (l load) check() error {
	switch {
	case l.rounds < 1 || l.rounds > 100:
		return errors.New("rounds must be from 1 to 100")
	case l.time < 10*time.Millisecond || l.time > 30*time.Second:
		return errors.New("time must be from 10ms to 30s")
	case l.connections < 1 || l.connections > 256:
		return errors.New("connections must be from 1 to 256")
	case l.tokens < 1 || l.tokens > 10_000:
		return errors.New("tokens must be from 1 to 10000")
	}
	return nil
}

func main() {
	log.SetFlags(0)
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		log.Fatal("httpload: ", err)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	var l load
	var variant string
	flags := flag.NewFlagSet("httpload", flag.ContinueOnError)
	flags.StringVar(&variant, serveFlag, "",
		"be the server of this variant; what httpload starts itself with")
	flags.IntVar(&l.rounds, "rounds", 10, "how many times to ask each server")
	flags.DurationVar(&l.time, "time", 2*time.Second, "how long to ask each server, each time")
	flags.IntVar(&l.connections, "connections", 8, "how many connections to ask over, each kept alive")
	flags.IntVar(&l.tokens, "tokens", 100, "how many tokens to ask with")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := l.check(); err != nil {
		return err
	}
	if variant != "" {
		return serve(ctx, variant, l.tokens, out)
	}
	results, err := measure(ctx, l)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "medians of %d rounds of %v for each, in turns; %d connections, %d tokens\n",
		l.rounds, l.time, l.connections, l.tokens)
	report(out, results)
	return nil
}

// measure starts the servers and measures them one after another, in rounds. Each round begins with
// a different server, so that a server does not always run after the same other server.
func measure(ctx context.Context, l load) (map[string][]result, error) {
	servers := map[string]*server{}
	for _, variant := range variants {
		s, err := start(ctx, variant, l.tokens)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", variant, err)
		}
		defer s.stop()
		servers[variant] = s
		if _, err := ask(s, l, l.time/10); err != nil { // warms the server up
			return nil, fmt.Errorf("%s: %w", variant, err)
		}
	}
	results := map[string][]result{}
	for round := range l.rounds {
		for i := range variants {
			variant := variants[(round+i)%len(variants)]
			r, err := ask(servers[variant], l, l.time)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", variant, err)
			}
			results[variant] = append(results[variant], r)
		}
	}
	return results, nil
}
