package spool

// notify wakes whoever is in Sync.
func (d *Disk) notify() {
	if d.changed != nil {
		close(d.changed)
		d.changed = nil
	}
}

func (d *Disk) lose(why Loss, n int) {
	if n > 0 && d.Lost != nil {
		d.Lost(why, n)
	}
}

// fail takes note that the disk does not take results; nil, that it does.
func (d *Disk) fail(err error) {
	d.trouble = err
	d.tell()
	d.notify()
}

// tell passes on how the disk is, if that is news.
func (d *Disk) tell() {
	now := d.trouble
	if now == nil {
		now = d.unread.cause
	}
	news := (now == nil) != (d.told == nil) || now != nil && now.Error() != d.told.Error()
	d.told = now
	if news && d.State != nil {
		d.State(now)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// piece returns an empty buffer for one message.
func (d *Disk) piece() []byte {
	if n := len(d.spare); n > 0 {
		b := d.spare[n-1]
		d.spare = d.spare[:n-1]
		return b
	}
	return nil
}

// release keeps the buffer of an entry that is done with for the next ones.
func (d *Disk) release(e entry) {
	const most, largest = 256, 4096
	if len(d.spare) < most && cap(e.json) <= largest && cap(e.json) > 0 {
		d.spare = append(d.spare, e.json[:0])
	}
}
