package throttle

import (
	"context"
	"net/netip"
	"time"

	"github.com/sallyport-go/auth/limit"
)

// The kinds of counts for the device authorization grant (RFC 8628). They are part of bucket names, so they
// must stay the same.
const (
	kindDeviceStart    = "device codes"
	kindDeviceGuess    = "user codes"
	kindAllDeviceGuess = "user codes of everybody"
	kindDevicePoll     = "polls of a device"
)

// The limits for the device authorization grant. A user code has 20^8 values and works for ten minutes. In
// this time, all users together can try 10,000 codes, so a given code is found with a probability of 1 to
// 2.5 million (RFC 8628, section 5.1).
var (
	deviceStarts     = []limit.Rate{{Count: 30, Per: time.Minute}, {Count: 300, Per: time.Hour}}
	deviceGuesses    = []limit.Rate{{Count: 10, Per: time.Minute}, {Count: 50, Per: time.Hour}}
	allDeviceGuesses = []limit.Rate{{Count: 10_000, Per: 10 * time.Minute}}
)

// CountDeviceStart counts a device that asks for codes, and rejects a client that asks for too many. All
// clients whose address is not known share a limit of 50 times that of one client.
func (t *Throttle) CountDeviceStart(ctx context.Context, client Client) error {
	if t == nil {
		return nil
	}
	rates := deviceStarts
	if !client.Address.IsValid() {
		rates = multiply(rates, unknownFailuresFactor)
	}
	return t.take(ctx, t.newBucket(kindDeviceStart, client.Address, rates))
}

// CountDeviceGuess counts a user code that a user has typed, before the store is asked. A user code is short,
// so even a right one is rejected if there were too many attempts. CountDeviceGuess counts the attempts of a
// user, whatever session makes them, and the attempts of all users.
func (t *Throttle) CountDeviceGuess(ctx context.Context, userID string) error {
	if t == nil {
		return nil
	}
	nowhere := netip.Addr{}
	if err := t.take(ctx, t.newBucket(kindDeviceGuess, nowhere, deviceGuesses, userID)); err != nil {
		return err
	}
	return t.take(ctx, t.newBucket(kindAllDeviceGuess, nowhere, allDeviceGuesses))
}

// CheckDevicePoll rejects a poll with a device code less than five seconds after [Throttle.BarDevicePolls].
// It does not call the limiter. The argument is the hash of the code. Polls are not counted in buckets,
// because a client could fill all buckets with codes that do not exist.
func (t *Throttle) CheckDevicePoll(codeHash string) error {
	if t == nil {
		return nil
	}
	return t.checkBar(t.devicePolls(codeHash))
}

// BarDevicePolls makes CheckDevicePoll reject the polls with a device code for five seconds. The caller has
// found the code in the store, and has told the device to slow down.
func (t *Throttle) BarDevicePolls(codeHash string) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bar(t.devicePolls(codeHash), devicePollBar)
}

// devicePollBar is shorter than the pause of a device that slows down.
const devicePollBar = 5 * time.Second

func (t *Throttle) devicePolls(codeHash string) bucket {
	return t.newBucket(kindDevicePoll, netip.Addr{}, nil, codeHash)
}
