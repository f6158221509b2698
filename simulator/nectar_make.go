package simulator

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// nectarTypes are the webhook types (https://docs.nectarclimate.com/developer-guide/webhooks), by how often each comes.
var nectarTypes = []string{
	"connection.created", "connection.updated", "document.created", "document.created", "document.created", "document.updated",
}

// nectarStamp writes a time as the vendor does: nanoseconds, no zone, UTC.
func nectarStamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000000") }

// uuid returns the id of the nth thing of a kind in the world of a seed.
func uuid(seed uint64, kind string, n int) string {
	b := sha256.Sum256(fmt.Appendf(nil, "%d %s %d", seed, kind, n))
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // RFC 9562, version 4
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// happen lets something become of a connection or a document at t; what is to be updated is created, if there is none that is older.
func (n *Nectar) happen(t time.Time, typ string) []*entry {
	m := n.newMaker(t)
	m.at = m.at.Truncate(time.Microsecond).Add(time.Duration(n.seq % 1000)) // no two changes have one time
	if typ == "" {
		typ = m.pickText(nectarTypes)
	}
	if m.r.IntN(4) == 0 {
		n.touch(m)
	}
	switch typ {
	case "connection.updated":
		if c := older(m, n.connections); c != nil {
			return []*entry{n.connection(m, c, typ)}
		}
		fallthrough
	case "connection.created":
		return []*entry{n.connection(m, nil, "connection.created")}
	case "document.updated":
		if d := older(m, n.documents); d != nil {
			return []*entry{n.document(m, d, typ)}
		}
	}
	return []*entry{n.document(m, nil, "document.created")}
}

// older draws one of those that were last changed before, or nil where a few draws find none.
func older(m maker, all []*nectarResource) *nectarResource {
	for range min(len(all), 8) {
		if r := pick(m.r, all); r.updated.Before(m.at) {
			return r
		}
	}
	return nil
}

// touch changes the times of a connection to which nothing has happened.
func (n *Nectar) touch(m maker) {
	if c := older(m, n.connections); c != nil {
		c.updated = m.at
		c.newest.show(connectionItem(c))
	}
}

// connectionStatuses are some of those of https://docs.nectarclimate.com/api-reference/v2-2/connections.
var connectionStatuses = []string{"PENDING", "UNDER_INVESTIGATION", "CONNECTED", "PASSWORD_INCORRECT", "MFA_TOKEN_EXPIRED", "WEBSITE_DOWN"}

// connection makes a new version of c, or a new connection.
func (n *Nectar) connection(m maker, c *nectarResource, typ string) *entry {
	if c == nil {
		c = &nectarResource{id: uuid(n.seed, "connection", int(n.seq)), company: pick(m.r, n.companies), born: m.at}
		n.connections = append(n.connections, c)
	} else {
		c.newest.gone = true
	}
	c.updated, c.look = m.at, m.style()
	c.fixed = []string{nectarStamp(m.at), m.pickText(connectionStatuses), m.pickText(remarks), m.pickText(makes)}
	return n.version(c, typ, connectionItem(c))
}

func connectionItem(c *nectarResource) []byte {
	return slices.Clip(c.look.append(nil, object{
		{"id", c.id}, {"created", nectarStamp(c.born)}, {"publicCompanyId", c.company.id}, {"connectionMagicLinkSecret", "secret"},
		{"statusLastUpdateTime", nectarStamp(c.updated)}, {"statusFirstSeenTime", c.fixed[0]}, {"statusErrorDetail", c.fixed[2]},
		{"updated", nectarStamp(c.updated)}, {"datasource", object{{"name", c.fixed[3]}, {"url", "https://example.com/login?a=1&b=2"}}},
		{"accounts", []any{object{{"accountNumber", "0042"}, {"datasourceTypes", []any{"ELECTRICITY"}}}}},
		{"company", object{{"id", c.company.id}, {"name", c.company.name}, {"externalId", nil}}},
		{"url", "https://example.com"}, {"status", c.fixed[1]}, {"country", "GB"}, {"emails", []any{}},
	}, 0))
}

// document makes a new version of d, or a new document of a connection, if there is one.
func (n *Nectar) document(m maker, d *nectarResource, typ string) *entry {
	if d == nil {
		d = &nectarResource{id: uuid(n.seed, "document", int(n.seq)), company: pick(m.r, n.companies), born: m.at}
		if len(n.connections) > 0 {
			c := pick(m.r, n.connections)
			d.company, d.connection = c.company, c.id
		}
		n.documents = append(n.documents, d)
	} else {
		d.newest.gone = true
	}
	d.updated = m.at
	cents := func() string { return strconv.Itoa(m.r.IntN(1000)) + ".10" }
	item := object{
		{"id", d.id}, {"created", nectarStamp(d.born)}, {"updated", nectarStamp(m.at)}, {"processedDate", nectarStamp(m.at)},
		{"company", object{{"id", d.company.id}, {"name", d.company.name}, {"externalId", nil}}},
		{"documentDate", d.born.Format(time.DateOnly)}, {"dueDate", d.born.AddDate(0, 0, 14).Format(time.DateOnly)},
		{"invoiceId", "INV-" + m.word(digits, 8)}, {"isFlagged", m.r.IntN(8) == 0}, {"currentCharges", cents()}, {"taxCharges", cents()},
		{"totalCharges", cents()}, {"totalChargesUnits", "GBP"}, {"notes", m.pickText(remarks)}, {"utilityCompany", m.pickText(makes)},
		{"lineItems", []any{object{{"description", m.pickText(remarks)}, {"quantity", m.number()}, {"rate", "0.2450"}, {"meterIds", []any{}}}}},
		{"meterSiteUsageData", []any{object{{"siteName", m.pickText(names)}, {"usage", cents()}, {"isEstimated", false}, {"daysInRange", 30}}}},
		{"url", "https://example.com/documents/" + d.id},
	}
	return n.version(d, typ, slices.Clip(m.style().append(nil, item, 0)))
}

// version makes the newest version of a resource, which what happened is told with.
func (n *Nectar) version(r *nectarResource, typ string, item []byte) *entry {
	key := r.id + "@" + nectarStamp(r.updated)
	r.newest = &entry{Event: Event{ID: key, Type: typ, Time: r.updated, Raw: item}, seq: n.seq, resource: r.id}
	return r.newest
}
