package simulator

// flatpeakTypes are the documented event types (https://docs.flatpeak.com/guides/system/events, and the Connect webhook guide
// for tariff.connection.upgrade), how often each comes, and what its data is.
var flatpeakTypes = []struct {
	name   string
	weight int
	data   func(*flatpeakMaker) object
}{
	{"customer.create", 6, (*flatpeakMaker).customer},
	{"customer.update", 6, (*flatpeakMaker).customer},
	{"customer.delete", 2, (*flatpeakMaker).customer},
	{"customer.create.failed", 1, failed("customer", "create")},
	{"customer.update.failed", 1, failed("customer", "update")},
	{"customer.delete.failed", 1, failed("customer", "delete")},
	{"location.create", 6, (*flatpeakMaker).location},
	{"location.update", 24, (*flatpeakMaker).location},
	{"location.delete", 2, (*flatpeakMaker).location},
	{"location.create.failed", 1, failed("location", "create")},
	{"location.update.failed", 1, failed("location", "update")},
	{"location.delete.failed", 1, failed("location", "delete")},
	{"device.create", 6, (*flatpeakMaker).device},
	{"device.update", 20, (*flatpeakMaker).device},
	{"device.delete", 2, (*flatpeakMaker).device},
	{"device.create.failed", 1, failed("device", "create")},
	{"device.update.failed", 1, failed("device", "update")},
	{"device.delete.failed", 1, failed("device", "delete")},
	{"schedule.created", 6, (*flatpeakMaker).schedule},
	{"tariff.expiring", 6, (*flatpeakMaker).tariff},
	{"tariff.expired", 6, (*flatpeakMaker).tariff},
	{"tariff.fetch.failed", 4, (*flatpeakMaker).tariff},
	{"tariff.connection.upgrade", 3, (*flatpeakMaker).tariff},
	{"connect_session.complete", 6, (*flatpeakMaker).connectSession},
}

// unknownTypes are types that no documentation lists: the vendor "may add more at any time". The first is how one page of
// its reference spells connect_session.complete.
var unknownTypes = []string{
	"connect.session.complete", "vpp.participation.changed", "device.consent.revoked", "carbon_intensity.updated",
}

// drawType draws a documented type by weight, or an unknown one.
func (m *flatpeakMaker) drawType(unknown bool) string {
	if unknown {
		return pick(m.r, unknownTypes)
	}
	total := 0
	for _, t := range flatpeakTypes {
		total += t.weight
	}
	n := m.r.IntN(total)
	for _, t := range flatpeakTypes {
		if n -= t.weight; n < 0 {
			return t.name
		}
	}
	panic("simulator: a draw beyond the weights")
}

// data returns the data of an event of this type. What is of an unknown type has thin data.
func (m *flatpeakMaker) data(typ string) object {
	for _, t := range flatpeakTypes {
		if t.name == typ {
			return t.data(m)
		}
	}
	return object{{"live_mode", m.live}, {"location_id", m.pooled("loc")}, {"account_id", m.account},
		{"details", object{{"reason", m.pickText(remarks)}, {"revision", m.number()}}}}
}

// failed makes the data of a failed operation: which object it was, and the error that the caller had. The documentation
// has no example of one.
func failed(resource, operation string) func(*flatpeakMaker) object {
	prefix := map[string]string{"customer": "cus", "location": "loc", "device": "dev"}[resource]
	return func(m *flatpeakMaker) object {
		data := object{{"object", resource}, {"account_id", m.account}, {"reference_id", m.reference(resource)}}
		if operation != "create" {
			data = append(object{{"id", m.pooled(prefix)}}, data...)
		}
		cause := pick(m.r, failures)
		return append(m.withLiveMode(data), member{"error", object{
			{"object", "error"}, {"live_mode", m.live}, {"context", "api." + resource + "_" + operation},
			{"type", cause.kind}, {"code", cause.code}, {"message", cause.message},
			{"time_created", m.at.Format("2006-01-02T15:04:05.000")},
		}})
	}
}

var failures = []struct{ kind, code, message string }{
	{"invalid_request", "country_code_missing", "Country code is required"},
	{"invalid_request", "object_not_found", "No such object in this account"},
	{"invalid_request", "postal_address_invalid", "Postal address can't be found: \"12, rue de l'Église\""},
	{"invalid_request", "object_in_use", "Object is in use by a location\nand can't be deleted"},
	{"api_error", "provider_unavailable", "Energy provider did not answer in time"},
}
