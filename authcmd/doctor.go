package authcmd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
)

// finding is a problem that doctor has found.
type finding struct {
	Check   string `json:"check"`   // the name of the check, such as "clock"
	Problem string `json:"problem"` // a sentence about the present state
	Advice  string `json:"advice"`  // a sentence about what to do
}

// doctor collects the findings of one run of the command doctor.
type doctor struct {
	*call
	found []finding
}

// add adds a finding. The errors of some drivers have several lines, which add joins with spaces.
func (d *doctor) add(check, advice, problem string, args ...any) {
	problem = strings.Join(strings.Fields(fmt.Sprintf(problem, args...)), " ")
	d.found = append(d.found, finding{Check: check, Problem: problem, Advice: advice})
}

const adviceIfAway = "Check the server, the network and the data source name."

// isUnreachable reports whether err means that a server did not answer.
func isUnreachable(err error) bool {
	var failure net.Error
	return errors.As(err, &failure) || errors.Is(err, context.DeadlineExceeded)
}

// failed adds a finding if the check could not be made. It reports whether it did.
func (d *doctor) failed(check string, err error) bool {
	if err == nil {
		return false
	}
	d.add(check, "Remove the cause of the error, and run doctor again.", "This could not be checked: %s.",
		message(err))
	return true
}

func runDoctor(ctx context.Context, c *call) error {
	d := &doctor{call: c}
	if c.openError != nil {
		advice := "Make the change that the error names."
		if isUnreachable(c.openError) {
			advice = adviceIfAway
		}
		d.add("open", advice, "The store could not be opened: %s.", message(c.openError))
	} else {
		d.examine(ctx)
	}
	if err := ctx.Err(); err != nil {
		return err // findings after the end of ctx would be about ctx
	}
	for _, f := range d.found {
		if c.options.json {
			if err := writeJSON(c.stdio.Out, f); err != nil {
				return err
			}
			continue
		}
		if _, err := fmt.Fprintf(c.stdio.Out, "%s: %s\n\t%s\n", f.Check, printable(f.Problem),
			printable(f.Advice)); err != nil {
			return err
		}
	}
	if len(d.found) > 0 {
		return errFindings
	}
	return nil
}

// examine makes all checks. If the store does not answer, it makes only those of the configuration.
func (d *doctor) examine(ctx context.Context) {
	d.checkSigningKeys()
	d.checkKeyAges()
	d.checkSharedKeys()
	d.checkProxies()
	d.checkURLs()
	d.checkSwitches()
	if err := d.Service.Ping(ctx); err != nil {
		d.add("store", adviceIfAway, "The store does not answer: %s.", message(err))
		return
	}
	if database, ok := d.Store.(Database); ok && !d.checkDatabase(ctx, database) {
		return
	}
	d.checkFeed(ctx)
	d.checkInstanceClocks(ctx)
	d.checkPeppers(ctx)
	d.checkSealingKeys(ctx)
	d.checkAccessKeys(ctx)
	d.checkSuperUsers(ctx)
}
