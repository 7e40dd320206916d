package throttle

import (
	"context"
	"net/netip"
	"time"

	"github.com/sallyport-go/auth/internal/clientaddr"
	"github.com/sallyport-go/auth/limit"
)

// The kinds of counts for the device authorization grant (RFC 8628). They are part of bucket names, so they
// must stay the same.
const (
	kindDeviceStart = "device codes"
	kindDeviceSite  = "device codes of a network"
	kindDeviceGuess = "user codes"
	kindDevicePoll  = "polls of a device"
)

// The limits for the device authorization grant.
//
// All clients share two budgets for device codes, and two for user codes. The first few attempts of each
// client use up the first budget, allFirst. Only the further attempts of all clients use up the second,
// allFurther. So some 700 users, 100 IPv4 addresses or 20 IPv6 networks that try all the time keep the second
// budget empty, but a client that tries rarely still gets through. To empty the first budget, too, an
// attacker needs 4,000 users or networks, and to keep it empty 24,000.
//
// A [limit.Rate] allows its Count at once and then its Count in each period. So in any ten minutes, at most
// 50,000 device codes are made and at most 50,000 user codes are tried. A user code has 20^8 = 25,600,000,000
// values and works for ten minutes. So a given code is found with a probability of at most 1 to 512,000, and
// any of 50,000 codes with less than 1 to 10. For 100 codes that wait for their owners, it is less than 1 to
// 5,000 (RFC 8628, section 5.1). These numbers are for one limiter: without a shared one, each instance
// counts for itself.
var (
	deviceStarts  = []limit.Rate{{Count: 30, Per: time.Minute}, {Count: 300, Per: time.Hour}}
	siteStarts    = multiply(deviceStarts, 5) // the devices of one IPv6 network: see site
	deviceGuesses = []limit.Rate{{Count: 10, Per: time.Minute}, {Count: 50, Per: time.Hour}}

	first      = []limit.Rate{{Count: 5, Per: time.Hour}}
	allFirst   = []limit.Rate{{Count: 20_000, Per: 10 * time.Minute}}
	allFurther = []limit.Rate{{Count: 5_000, Per: 10 * time.Minute}}
)

// CountDeviceStart counts a device that asks for codes. It rejects a client that asks for too many, and every
// client if all clients together ask for too many, because a store keeps each code for a while. All clients
// whose address is not known share a limit of 50 times that of one client.
func (t *Throttle) CountDeviceStart(ctx context.Context, client Client) error {
	if t == nil {
		return nil
	}
	rates := deviceStarts
	if !client.Address.IsValid() {
		rates = multiply(rates, unknownFailuresFactor)
	}
	if err := t.take(ctx, t.newBucket(kindDeviceStart, client.Address, rates)); err != nil {
		return err
	}
	network := site(client.Address)
	if network.Is6() {
		if err := t.take(ctx, t.newBucket(kindDeviceSite, network, siteStarts)); err != nil {
			return err
		}
	}
	return t.takeShared(ctx, kindDeviceStart, network)
}

// site returns the network that one person or company has: all IPv6 addresses with the same first 48 bits,
// and each IPv4 address. An attacker with such an IPv6 network has 65,536 client addresses, so the network
// has limits of its own. They are higher than those of a client address, because neighbors can share the
// network.
func site(address netip.Addr) netip.Addr {
	address = clientaddr.Network(address)
	if !address.Is6() {
		return address
	}
	network, _ := address.Prefix(48) // fails only for an address of fewer than 48 bits
	return network.Addr()
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
	return t.takeShared(ctx, kindDeviceGuess, nowhere, userID)
}

// takeShared counts an attempt of one client against the budgets of all clients. It rejects the attempt if
// both budgets that the client can use are empty.
func (t *Throttle) takeShared(ctx context.Context, kind string, address netip.Addr, of ...string) error {
	nowhere := netip.Addr{}
	if t.take(ctx, t.newBucket("first "+kind, address, first, of...)) == nil &&
		t.take(ctx, t.newBucket("first "+kind+" of everybody", nowhere, allFirst)) == nil {
		return nil
	}
	err := t.take(ctx, t.newBucket(kind+" of everybody", nowhere, allFurther))
	if err != nil {
		if r, due := t.crowds.Fail(kind, 1); due {
			t.log.WarnContext(ctx, "auth: all clients together have exceeded a limit of the device grant: "+
				"clients that try often are refused", "limit", kind, "refused", r.Failures, "since", r.Since)
		}
	}
	return err
}

// SharedRefusals returns how many attempts were rejected because all clients together had exceeded a limit.
func (t *Throttle) SharedRefusals() int64 {
	if t == nil {
		return 0
	}
	return t.crowds.Failures()
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
