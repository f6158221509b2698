package simulator

import (
	"fmt"
	"slices"
	"time"
)

const halfHour = 30 * time.Minute

// openvoltStamp writes a time as the vendor does.
func openvoltStamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// mongoID returns the id of the nth thing of a kind in the world of a seed.
func (v *Openvolt) mongoID(kind string) string {
	return objectID(v.seed, kind, int(v.seq))[len(kind)+1:]
}

// happen lets a thing happen at t, and before it what it needs to be about: a customer, a meter, a consent.
func (v *Openvolt) happen(t time.Time, typ string) (told []*entry) {
	m := v.newMaker(t.Truncate(time.Millisecond))
	if typ == "" {
		typ = "meter_data.received"
		switch n := m.r.IntN(100); {
		case n < 5:
			typ = "customer.created"
		case n < 12:
			typ = "meter.created"
		case n < 20:
			typ = "hosted_consent.approved"
		case n < 25:
			typ = "hosted_consent.revoked"
		}
	}
	for _, need := range []struct {
		met  bool
		what string
	}{
		{typ == "customer.created" || len(v.customers) > 0, "customer.created"},
		{typ != "meter_data.received" || len(v.meters) > 0, "meter.created"},
		{typ != "hosted_consent.revoked" || len(v.consents) > 0, "hosted_consent.approved"},
	} {
		if !need.met {
			told = append(told, v.happen(t, need.what)...)
			v.seq++
		}
	}
	switch typ {
	case "customer.created":
		return append(told, v.customer(m))
	case "meter.created":
		return append(told, v.meter(m))
	case "hosted_consent.approved":
		return append(told, v.approve(m))
	case "hosted_consent.revoked":
		return append(told, v.revoke(m))
	default:
		return append(told, v.data(m)...)
	}
}

// tell makes what a resource's creation is told with.
func (v *Openvolt) tell(m maker, typ, id string, item []byte) *entry {
	return &entry{Event: Event{ID: typ + " " + id, Type: typ, Time: m.at, Raw: slices.Clip(item)}, seq: v.seq, resource: id}
}

func (v *Openvolt) customer(m maker) *entry {
	id := v.mongoID("customer")
	e := v.tell(m, "customer.created", id, m.style().append(nil, object{
		{"_id", id}, {"object", "customer"}, {"name", m.pickText(names)}, {"email", m.word(letters[36:], 8) + "@example.com"},
		{"metadata", object{{"crm_id", m.number()}, {"note", m.pickText(remarks)}}},
	}, 0))
	v.customers = append(v.customers, e)
	return e
}

func (v *Openvolt) meter(m maker) *entry {
	meter := &openvoltMeter{
		id: v.mongoID("meter"), number: "12" + m.word(digits, 11), customer: pick(m.r, v.customers).resource, look: m.style(),
		slots: map[int64]*entry{},
	}
	v.meters = append(v.meters, meter)
	meter.created = v.tell(m, "meter.created", meter.id, meter.item(nil))
	return meter.created
}

// item writes the meter, with the time of the last data that it gave.
func (m *openvoltMeter) item(pulled any) []byte {
	return m.look.append(nil, object{
		{"_id", m.id}, {"object", "meter"}, {"meter_number", m.number}, {"customer_id", m.customer}, {"data_source", "electralink"},
		{"status", "active"}, {"update_frequency", "daily"}, {"last_data_pull_date", pulled}, {"metadata", object{}},
	}, 0)
}

func (v *Openvolt) approve(m maker) *entry {
	id := v.mongoID("consent")
	e := v.tell(m, "hosted_consent.approved", id, m.style().append(nil, object{
		{"_id", id}, {"object", "consent"}, {"customer_id", pick(m.r, v.customers).resource}, {"type", "interval"}, {"name", m.pickText(remarks)},
		{"start_date", m.at.Format(time.DateOnly)}, {"end_date", m.at.AddDate(1, 0, 0).Format(time.DateOnly)}, {"metadata", object{}},
		{"evidence_document_id", m.word(base16, 24)},
	}, 0))
	v.consents = append(v.consents, e)
	return e
}

// revoke takes a consent off the list. Its approval can't be seen any more, nor the revocation of one that was never listed.
func (v *Openvolt) revoke(m maker) *entry {
	i := m.r.IntN(len(v.consents))
	consent := v.consents[i]
	v.consents = slices.Delete(slices.Clone(v.consents), i, i+1)
	consent.gone = true
	e := v.tell(m, "hosted_consent.revoked", consent.resource, nil)
	e.body, e.gone = []byte{}, !consent.served
	return e
}

// data lets one to four half hours of a meter arrive, of the day before: new ones, gaps between others, corrections.
func (v *Openvolt) data(m maker) (told []*entry) {
	meter := pick(m.r, v.meters)
	n := 1 + m.r.IntN(4)
	first := m.at.Truncate(halfHour).Add(-time.Duration(n+m.r.IntN(40)) * halfHour)
	look := m.style()
	for i := range n {
		start := first.Add(time.Duration(i) * halfHour)
		v.seq++
		// A correction is another value, and so is what corrects that: the last digits count what has happened.
		consumption := fmt.Sprintf("%d.%03d%d", m.r.IntN(3), m.r.IntN(1000), v.seq)
		item := look.append(nil, object{
			{"start_interval", openvoltStamp(start)}, {"consumption", literal(consumption)}, {"consumption_units", "kwh"}, {"meter_id", meter.id},
			{"meter_number", meter.number}, {"customer_id", meter.customer}, {"account_id", "acc_simulated"},
		}, 0)
		if old := meter.slots[start.Unix()]; old != nil {
			old.gone = true
		}
		key := openvoltSlotKey(meter.id, openvoltStamp(start), consumption)
		e := &entry{Event: Event{ID: key, Type: "meter_data.received", Time: m.at, Raw: slices.Clip(item)}, seq: v.seq, resource: meter.id}
		meter.slots[start.Unix()] = e
		told = append(told, e)
	}
	if m.r.IntN(8) == 0 {
		meter.created.show(meter.item(openvoltStamp(m.at)))
	}
	return told
}
