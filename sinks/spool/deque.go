package spool

// deque is a queue of values. The zero value is ready.
type deque[T any] struct {
	ring   []T // values from first on, wrapping around
	first  int
	length int
}

func (d *deque[T]) at(i int) *T { return &d.ring[(d.first+i)%len(d.ring)] }

func (d *deque[T]) push(value T) {
	if d.length == len(d.ring) {
		larger := make([]T, max(64, 2*len(d.ring)))
		for i := range d.length {
			larger[i] = *d.at(i)
		}
		d.ring, d.first = larger, 0
	}
	d.length++
	*d.at(d.length - 1) = value
}

func (d *deque[T]) pop() T { return d.remove(0) }

// remove takes value i out, keeping the order: those before it move up.
func (d *deque[T]) remove(i int) T {
	value := *d.at(i)
	for ; i > 0; i-- {
		*d.at(i) = *d.at(i - 1)
	}
	var none T
	*d.at(0) = none
	d.first = (d.first + 1) % len(d.ring)
	d.length--
	if d.length == 0 && len(d.ring) > idleRing {
		d.ring, d.first = nil, 0
	}
	return value
}

// idleRing is the most places that an empty deque keeps.
const idleRing = 4096
