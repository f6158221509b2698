package simulator

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// flatpeakMaker makes one event.
type flatpeakMaker struct {
	maker
	account string
	live    bool
	undated bool
}

// event makes the event itself. Its id is random: ids say nothing about order.
func (m *flatpeakMaker) event(typ string) *entry {
	id := fmt.Sprintf("evt_%016x%08x", m.r.Uint64(), m.r.Uint32())
	layout := m.style()
	timeLast := m.r.IntN(4) == 0 // both orders are in the vendor's examples
	data := m.data(typ)
	item := object{{"id", id}, {"object", "event"}, {"type", typ}, {"data", data}}
	if created := (member{"time_created", stamp(m.at)}); !m.undated && timeLast {
		item = append(item, created)
	} else if !m.undated {
		item = slices.Insert(item, 2, created)
	}
	return &entry{
		Event:   Event{ID: id, Type: typ, Time: m.at, Raw: slices.Clip(layout.append(nil, item, 0))},
		objects: objectIDs(data),
	}
}

// objectIDs returns the ids that `object_id` finds an event by.
func objectIDs(data object) (ids []string) {
	for _, m := range data {
		if text, ok := m.value.(string); ok && (m.key == "id" || strings.HasSuffix(m.key, "_id")) {
			ids = append(ids, text)
		}
	}
	return ids
}

func stamp(t time.Time) string { return t.Format("2006-01-02T15:04:05Z") }

func (m *flatpeakMaker) reference(resource string) string {
	return strings.ToUpper(resource[:3]) + fmt.Sprintf("%010d", m.r.Int64N(10_000_000_000))
}

// withLiveMode adds live_mode, which the vendor's own examples sometimes lack.
func (m *flatpeakMaker) withLiveMode(data object) object {
	if m.r.IntN(12) == 0 {
		return data
	}
	return append(data, member{"live_mode", m.live})
}

// head is how a full object begins.
func (m *flatpeakMaker) head(prefix, kind string) object {
	data := m.withLiveMode(object{{"id", m.pooled(prefix)}, {"object", kind}})
	created := m.at.Add(-time.Duration(m.r.IntN(90*24)) * time.Hour)
	return append(data, member{"reference_id", m.reference(kind)}, member{"time_created", stamp(created)},
		member{"account_id", m.account})
}

func (m *flatpeakMaker) customer() object {
	data := append(m.head("cus", "customer"),
		member{"name", m.pickText(names)}, member{"email", fmt.Sprintf("user+%d@example.com", m.r.IntN(100_000))},
		member{"phone", nil}, member{"locale", m.pickText([]string{"en_GB", "de_DE", "el_GR", "ja_JP"})},
		member{"is_disabled", m.r.IntN(20) == 0})
	return append(data, member{"metadata", object{{"crm_id", m.number()}, {"note", m.pickText(remarks)}, {"", "empty key"}}})
}

func (m *flatpeakMaker) location() object {
	place := pick(m.r, places)
	data := append(m.head("loc", "location"),
		member{"customer_id", m.pooled("cus")}, member{"provider_id", m.pooled("prv")}, member{"tariff_id", m.pooled("trf")},
		member{"country_code", place.country}, member{"timezone", place.timezone},
		member{"postal_address", object{{"address_line1", place.street}, {"city", place.city}, {"post_code", place.code},
			{"state", ""}, {"country_code", place.country}}},
		member{"geo_location", object{{"lat", place.lat}, {"lng", place.lng}}})
	meters := []any{}
	for range m.r.IntN(3) {
		meters = append(meters, object{{"mpan", literal(fmt.Sprintf("12%011d", m.r.Int64N(100_000_000_000)))},
			{"serial", m.reference("meter")}, {"direction", "IMPORT"}, {"reading_wh", m.number()}})
	}
	return append(data, member{"meters", meters}, member{"tariff_settings", object{
		{"is_enabled", true}, {"connect_type", m.pickText([]string{"DIRECT", "SHARED", "MANUAL"})},
		{"integrated", m.r.IntN(2) == 0}, {"standing_charge", literal("0.5310")}, {"currency_code", place.currency}}})
}

func (m *flatpeakMaker) device() object {
	data := append(m.head("dev", "device"),
		member{"location_id", m.pooled("loc")}, member{"customer_id", m.pooled("cus")},
		member{"last_seen", stamp(m.at.Add(-time.Duration(m.r.IntN(3600)) * time.Second))},
		member{"properties", object{{"type", m.pickText([]string{"EV", "BATTERY", "HEAT_PUMP", "EVSE", "PV"})},
			{"make", m.pickText(makes)}, {"model", "Größe M / 7.4\u00a0kW"}, {"serial", m.number()},
			{"capacity_kwh", literal("77.40")}, {"state_of_charge", literal("1e-1")}, {"power_w", -m.r.IntN(11_000)}}})
	consents := []any{}
	for _, scope := range []string{"telemetry", "control", "vpp"}[:m.r.IntN(4)] {
		consents = append(consents, object{{"scope", scope}, {"granted", m.r.IntN(5) > 0}, {"time_granted", stamp(m.at)}})
	}
	return append(data, member{"consents", consents}, member{"vpp_participation", object{
		{"status", m.pickText([]string{"ENROLLED", "PENDING", "NONE"})}, {"program", nil}, {"notes", m.pickText(remarks)}}})
}

func (m *flatpeakMaker) schedule() object {
	slots := []any{}
	from := m.at.Truncate(30 * time.Minute)
	for range 1 + m.r.IntN(12) {
		to := from.Add(30 * time.Minute)
		slots = append(slots, object{{"valid_from", stamp(from)}, {"valid_to", stamp(to)},
			{"action", m.pickText([]string{"CHARGE", "DISCHARGE", "IDLE"})},
			{"energy", literal(fmt.Sprintf("%d.%03d0", m.r.IntN(8), m.r.IntN(1000)))}})
		from = to
	}
	return m.withLiveMode(object{{"id", m.pooled("sch")}, {"object", "schedule"}, {"account_id", m.account},
		{"location_id", m.pooled("loc")}, {"time_created", stamp(m.at)}, {"currency_code", "EUR"}, {"data", slots}})
}

// tariff is thin: the ids of what it is about.
func (m *flatpeakMaker) tariff() object {
	return append(m.withLiveMode(object{}), member{"location_id", m.pooled("loc")}, member{"tariff_id", m.pooled("trf")},
		member{"account_id", m.account})
}

func (m *flatpeakMaker) connectSession() object {
	return append(m.withLiveMode(object{}), member{"object", "connect_session"}, member{"connect_token", m.pooled("con")},
		member{"location_id", m.pooled("loc")}, member{"customer_id", m.pooled("cus")}, member{"tariff_id", m.pooled("trf")},
		member{"account_id", m.account})
}

var makes = []string{"Solaris", "Wärmewerk", "Électra", "日光電機"}

var places = []struct {
	country, timezone, street, city, code, currency string
	lat, lng                                        literal
}{
	{"GB", "Europe/London", "1 Electric Avenue", "London", "SW9 8JX", "GBP", "51.46230", "-0.11470"},
	{"DE", "Europe/Berlin", "Lindenstraße 7a", "Köln", "50674", "EUR", "50.93333333333333", "6.950000000000000001"},
	{"FR", "Europe/Paris", "12, rue de l'Église", "Besançon", "25000", "EUR", "47.2400", "6.0200"},
	{"SE", "Europe/Stockholm", "Ångströmsvägen 3", "Malmö", "211 20", "SEK", "55.6", "13.0"},
	{"GR", "Europe/Athens", "Οδός Ηλέκτρας 5", "Αθήνα", "105 58", "EUR", "37.98", "23.730"},
}
