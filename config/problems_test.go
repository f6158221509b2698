package config

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"tidings/recipe"
)

// Each broken file with everything that is said about it; the file's name is left out of what is wanted.
func TestProblems(t *testing.T) {
	vars := map[string]string{"TEXT": "hush-1234", "EMPTY": "", "LINES": "hush\n1234", "CREDENTIALS_DIRECTORY": "/c"}
	files := map[string]string{"/c/big": strings.Repeat("hush", 20_000), "/c/key": "hush-1234\n", "/c/key.yaml": "hush-1234\n"}
	for name, test := range map[string]struct{ text, want string }{
		"empty file": {"", `
1:1: sinks: is missing: there must be at least one
1:1: sources: is missing: there must be at least one`},
		"only text": {"hello\n", `1:1: is text, and must be a mapping with the keys sources and sinks`},
		"a list":    {"- a\n", `1:1: is a list, and must be a mapping with the keys sources and sinks`},
		"empty sections": {"sources:\nsinks: {}\n", `
1:1: sources: is empty: there must be at least one
2:1: sinks: is empty: there must be at least one`},
		"not YAML":           {goodSource + "sinks:\n\tb: 1\n", `3:1: is not YAML: found character '\t' that cannot start any token; YAML is indented with spaces, never with tabs`},
		"unclosed quote":     {goodSource + goodSink + "data_dir: \"/x\n", `3:11: is not YAML: could not find end character of double-quoted text`},
		"unquoted reference": {goodSource + "sinks: {b: {http: {url: ${env:TEXT}}}}\n", "2:26: is not YAML: ',' or '}' must be specified; within { } and [ ] write \"${...}\" in quotes"},
		"two documents":      {goodSource + goodSink + "---\na: 1\n", `4:1: a second YAML document begins here: a configuration is one, so remove the line ---`},
		"doubled key":        {goodSource + goodSink + "log: {level: info}\nlog: {level: debug}\n", `4:1: log: stands twice in this mapping, first in line 3: remove one`},
		"doubled name":       {"sources:\n  a: {preset: flatpeak, with: {account_id: a, api_key: k}}\n  a: {preset: flatpeak}\n" + goodSink, `3:3: sources.a: stands twice in this mapping, first in line 2: remove one`},
		"alias of nothing":   {goodSource + "sinks: {b: *x}\n", `2:12: sinks.b: no anchor &x stands before this alias`},
		"merge of nothing":   {goodSource + "sinks: {b: {<<: [1], file: {path: /x}}}\n", `2:18: sinks.b.<<: is a number, and must be an alias of a mapping, or a list of such`},
		"an alias in itself": {goodSource + "sinks: {b: &x {<<: *x, file: {path: /x}}}\n", `2:20: sinks.b.<<: the file's aliases stand for more than 25000 values: write them out, or fewer`},
		"anchor twice":       {goodSource + "sinks: {b: {file: {path: &x /x}, format: &x raw}}\n", `2:42: the anchor &x stands twice, first in line 2: give it another name`},
		"a tag":              {goodSource + goodSink + "data_dir: !secret x\n", `3:11: data_dir: has the tag !secret, and tags mean nothing here: remove it`},
		"a key that is none": {goodSource + goodSink + "? [a]\n: b\n", `4:1: is not YAML: found an invalid key for this map`},

		"socket": {goodSource + "sinks: {b: {http: {url: 'unix:/" + strings.Repeat("s", 107) + ":/x'}}}\ncontrol: /" + strings.Repeat("s", 107) + "\n", `
2:25: sinks.b.http.url: has the path of a socket in it with 108 bytes, and the system takes 107: write a shorter one
3:10: control: has 108 bytes, and the system takes 107 for a socket: write a shorter one`},

		"near miss":        {goodSource + goodSink + "sotre: {}\n", `3:1: sotre: is not a key of the configuration: did you mean store?`},
		"unlike any":       {goodSource + goodSink + "store: {compress: true}\n", `3:9: store.compress: is not a key of store: it has remember, keep, max_size, min_free`},
		"belongs under":    {goodSource + goodSink + "remember: 90d\n", `3:1: remember: is not a key of the configuration: it belongs under store`},
		"belongs to outer": {goodSource + "sinks: {b: {file: {path: /x, timeout: 3s}}}\n", `2:30: sinks.b.file.timeout: is not a key of a file sink: it belongs to a sink, as sinks.b.timeout`},
		"web, unknown key": {goodSource + goodSink + "web: {lisen: 127.0.0.1:9480}\n", `3:7: web.lisen: is not a key of web: did you mean listen?`},
		"web, misplaced":   {goodSource + goodSink + "listen: 127.0.0.1:9480\n", `3:1: listen: is not a key of the configuration: it belongs under web`},
		"web, no port":     {goodSource + goodSink + "web: {listen: 127.0.0.1}\n", `3:15: web.listen: is "127.0.0.1", and must be an address and a port to listen on, such as 127.0.0.1:9480`},
		"web, a URL":       {goodSource + goodSink + "web: {listen: 'http://127.0.0.1:9480'}\n", `3:15: web.listen: is "http://127.0.0.1:9480", and must be an address and a port to listen on, such as 127.0.0.1:9480`},
		"web, no address":  {goodSource + goodSink + "web: {listen: ':9480'}\n", `3:15: web.listen: ":9480" names no address: write 127.0.0.1:9480 for this machine alone, or 0.0.0.0:9480 for every interface`},
		"web, port":        {goodSource + goodSink + "web: {listen: 'localhost:99999'}\n", `3:15: web.listen: is "localhost:99999", and its port must be a number from 0 to 65535; 0 takes a free one`},
		"web, credential":  {goodSource + goodSink + "web: {listen: '${credential:x}:1'}\n", "3:15: web.listen: has a credential, but this value is shown in status and logs: write it out, or use ${env:NAME}"},
		"exec source": {"sources: {a: {exec: {}}, b: {exec: {command: ls -l, timeout: 0s}, tls: {}}, c: {exec: {command: [bin/x], env: {TIDINGS_X: 1}}, feeds: []}}\n" + goodSink, `
1:15: sources.a.exec.command: is missing: a list of the program and its arguments
1:46: sources.b.exec.command: is text, and must be a list of the program and its arguments ([/usr/local/bin/list-events]): no shell reads it
1:62: sources.b.exec.timeout: is "0s", and must be at least 1ms
1:67: sources.b.tls: is empty: write cert and key, or ca, or remove the key
1:67: sources.b.tls: is of requests, and a program makes its own: remove it
1:98: sources.c.exec.command[0]: is "bin/x", a path that depends on where the daemon is started: write an absolute one
1:112: sources.c.exec.env.TIDINGS_X: is set by the daemon itself: give the variable another name than TIDINGS_…
1:128: sources.c.feeds: belongs to http, and this source has exec: remove it`},
		"a word for a list": {goodSource + "sinks: {b: {file: {path: /x}, events: tariff.*}}\n", `2:39: sinks.b.events: is text, and must be a list ([a, b])`},
		"a list for text":   {goodSource + "sinks: {b: {file: {path: [/x]}}}\n", `2:26: sinks.b.file.path: is a list, and must be the path of a file`},
		"text for mapping":  {goodSource + "sinks: {b: {file: /x}}\n", `2:19: sinks.b.file: is text, and must be a mapping (key: value)`},
		"number for text":   {goodSource + goodSink + "data_dir: 5\n", `3:11: data_dir: is a number, and must be a path: write it in quotes`},
		"text for number":   {goodSource + "sinks: {b: {concurrency: \"8\", exec: {command: [x]}}}\n", `2:26: sinks.b.concurrency: is the text "8", and must be a whole number from 1 to 1024: write it without quotes`},
		"nothing for text":  {goodSource + goodSink + "data_dir:\n", `3:1: data_dir: has no value: write a path, or remove the key`},
		"bare duration":     {goodSource + goodSink + "store: {keep: 14}\n", `3:15: store.keep: is "14", and must be a duration such as 90s, 15m, 72h or 14d`},
		"negative duration": {goodSource + goodSink + "store: {keep: -1h}\n", `3:15: store.keep: is "-1h", and must be at least 0s`},
		"huge duration":     {goodSource + goodSink + "store: {keep: 999999d}\n", `3:15: store.keep: is "999999d", and must be a duration such as 90s, 15m, 72h or 14d`},
		"size":              {goodSource + goodSink + "store: {max_size: 10 gigs, min_free: 99999999999999TiB}\n", "\n" + `3:19: store.max_size: is "10 gigs", and must be a size such as 512MiB, 10GiB or 10GB` + "\n" + `3:38: store.min_free: is "99999999999999TiB", more than any disk has: write a size such as 512MiB, 10GiB or 10GB`},
		"small store":       {goodSource + goodSink + "store: {max_size: 1MiB}\n", `3:19: store.max_size: is "1MiB", and must be at least 16MiB`},
		"level":             {goodSource + goodSink + "log: {level: warning}\n", `3:14: log.level: is "warning", and must be one of debug, info, warn, error`},

		"no such variable":   {goodSource + goodSink + "data_dir: /x/${env:NOPE}\n", `3:11: data_dir: the environment variable NOPE is not set`},
		"no such file":       {goodSource + "sinks: {b: {http: {url: 'http://x', headers: {A: '${file:nope}'}}}}\n", `2:50: sinks.b.http.headers.A: the file /etc/nope does not exist`},
		"no such credential": {goodSource + "sinks: {b: {http: {url: 'http://x', secret: '${credential:nope}'}}}\n", `2:45: sinks.b.http.secret: the credential nope does not exist: with systemd, add LoadCredential=nope:/PATH/TO/IT to the unit`},
		"credential's path":  {goodSource + "sinks: {b: {http: {url: 'http://x', secret: '${credential:../key}'}}}\n", `2:45: sinks.b.http.secret: has a "${credential:NAME}" whose name is not that of a file: a credential has no directories in its name`},
		"big credential":     {goodSource + "sinks: {b: {http: {url: 'http://x', secret: '${credential:big}'}}}\n", `2:45: sinks.b.http.secret: the credential big is longer than 64 KiB: it is hardly a secret`},
		"credential shown":   {goodSource + "sinks: {b: {file: {path: '/x/${credential:key}'}}}\n", `2:26: sinks.b.file.path: has a credential, but this value is shown in status and logs: write it out, or use ${env:NAME}`},
		"empty variable":     {goodSource + "sinks: {b: {http: {url: '${env:EMPTY}'}}}\n", `2:25: sinks.b.http.url: is "${env:EMPTY}", and must be http://HOST/PATH, https://HOST/PATH or unix:/SOCKET:/PATH`},
		"unknown kind":       {goodSource + goodSink + "data_dir: ${HOME}/x\n", `3:11: data_dir: has a "${...}" that is none of ${env:NAME}, ${file:PATH} and ${credential:NAME}; write "$${" for a literal "${"`},
		"unclosed reference": {goodSource + goodSink + "data_dir: ${env:HOME\n", `3:11: data_dir: has a "${" without its "}": close it, or write "$${" for a literal "${"`},
		"a value from outside": {goodSource + "sinks: {b: {timeout: '${env:TEXT}', file: {path: '/x', timezone: '${env:TEXT}'}}}\n", `
2:22: sinks.b.timeout: is the value of "${env:TEXT}", and must be a duration such as 90s, 15m, 72h or 14d
2:66: sinks.b.file.timezone: is the value of "${env:TEXT}", a time zone that is unknown here: write UTC, Local or a name such as Europe/Berlin`},
		"line break in a header": {goodSource + "sinks: {b: {http: {url: 'http://x', headers: {A: '${env:LINES}'}}}}\n", `2:50: sinks.b.http.headers.A: has a line break or another control character, which a header can't have: remove it`},
		"line break in a key":    {"sources: {a: {preset: flatpeak, with: {account_id: a, api_key: '${env:LINES}'}}}\n" + goodSink, `1:64: sources.a.with.api_key: has a line break or another control character, which a request can't have: remove it`},

		"source name":       {"sources: {A: {preset: flatpeak, with: {account_id: a, api_key: k}}}\n" + goodSink, `1:11: sources.A: is not a name: a source has 1 to 63 of a-z, 0-9, _ and -, and begins with a letter or digit`},
		"reserved name":     {goodSource + "sinks: {tidings: {file: {path: /x}}}\n", `2:9: sinks.tidings: is a reserved name: give the sink another`},
		"no kind of source": {"sources: {a: {every: 1m}}\n" + goodSink, `1:11: sources.a: does not say what to poll: write preset, http or exec`},
		"two kinds":         {"sources: {a: {preset: flatpeak, http: {url: 'https://x'}}}\n" + goodSink, `1:33: sources.a.http: stands beside preset: a source has one of preset, http and exec`},
		"preset":            {"sources: {a: {preset: flat-peak}}\n" + goodSink, `1:23: sources.a.preset: is no preset that this version has: did you mean flatpeak? there is ` + strings.Join(recipe.Names(), ", ") + `; your own is a path, such as ./vendor.yaml`},
		"with": {"sources:\n  a:\n    preset: flatpeak\n    with: {acount_id: x, query: {limit: 5}, base_url: ftp://x}\n" + goodSink, `
4:5: sources.a.with.account_id: is missing: The account's id, from the Flatpeak Dashboard, such as acc_0123456789
4:5: sources.a.with.api_key: is missing: A secret API key of the account; a test key sees test events, a live key live ones, such as ${credential:flatpeak_api_key}
4:12: sources.a.with.acount_id: is not a key of what the preset flatpeak takes: did you mean account_id?
4:34: sources.a.with.query.limit: is a query parameter that the preset sets itself: remove it
4:55: sources.a.with.base_url: the value is not an address: it begins with https:// or http:// and a host`},
		"no with":            {"sources:\n  a: {preset: flatpeak}\n" + goodSink, "\n2:3: sources.a.with.account_id: is missing: The account's id, from the Flatpeak Dashboard, such as acc_0123456789\n2:3: sources.a.with.api_key: is missing: A secret API key of the account; a test key sees test events, a live key live ones, such as ${credential:flatpeak_api_key}"},
		"every and cron":     {source("every: 1m\n    cron: '* * * * *'"), `5:5: sources.a.cron: stands beside every: a source has one of them`},
		"every":              {source("every: 99ms"), `4:12: sources.a.every: is "99ms", and must be at least 100ms`},
		"cron fields":        {source("cron: '* * * *'"), `4:11: sources.a.cron: is "* * * *", and must be five fields such as "*/5 * * * *" (minute, hour, day of month, month, day of week)`},
		"cron @every":        {source("cron: '@every 5m'"), `4:11: sources.a.cron: is "@every 5m": write every: instead of cron:`},
		"cron never":         {source("cron: '0 0 30 2 *'"), `4:11: sources.a.cron: is "0 0 30 2 *", a time that never comes: write five fields such as "*/5 * * * *" (minute, hour, day of month, month, day of week)`},
		"cron zone":          {source("cron: 'CRON_TZ=Mars/Base 0 6 * * *'"), `4:11: sources.a.cron: is "CRON_TZ=Mars/Base 0 6 * * *", whose time zone is unknown: write one such as CRON_TZ=Europe/Berlin`},
		"cron zone alone":    {source("cron: 'TZ=0'"), `4:11: sources.a.cron: is "TZ=0", and must be five fields such as "*/5 * * * *" (minute, hour, day of month, month, day of week)`},
		"jitter":             {source("jitter: 1.5"), `4:13: sources.a.jitter: is "1.5", and must be a number from 0 to 1`},
		"jitter, no number":  {source("jitter: .nan"), `4:13: sources.a.jitter: is ".nan", and must be a number from 0 to 1`},
		"start":              {source("start: yesterday"), `4:12: sources.a.start: is "yesterday", and must be now, earliest or an RFC 3339 time such as 2026-11-01T00:00:00Z`},
		"no events":          {source("events: []"), `4:13: sources.a.events: is an empty list, which passes nothing: write a glob of event types, such as "*" or tariff.* in it, or remove the key`},
		"an empty glob":      {source("events: ['']"), `4:14: sources.a.events[0]: the value is empty: write a glob of event types, such as "*" or tariff.*`},
		"overlap":            {source("overlap: 91d"), `4:14: sources.a.overlap: is longer than store.remember (90d): an event is told from a new one only while it is remembered`},
		"http source":        {"sources:\n  a:\n    http:\n      url: https://u:pw@x/y\n      auth: {bearer: '{token}'}\n      position: tail_cursor\n" + goodSink, "\n4:7: sources.a.http.paging: is missing; tail_cursor keeps its place with paging.cursor\n5:22: sources.a.http.auth.bearer: has {token}, which has no value here: write ${env:NAME} for a value, {{ for a brace"},
		"password in a url":  {"sources:\n  a:\n    http: {url: 'https://u:pw@x/y', position: head_walk}\n" + goodSink, `3:17: sources.a.http.url: has a user or password in its address: they belong elsewhere, such as http.auth.basic`},
		"http without url":   {"sources: {a: {http: {position: head_walk}}}\n" + goodSink, `1:21: sources.a.http.url: is missing; it is the address of the list, such as https://api.example.com/v1/events`},
		"with beside http":   {"sources: {a: {http: {url: 'https://x', position: head_walk}, with: {}}}\n" + goodSink, `1:62: sources.a.with: belongs to preset, and this source has http: remove it`},
		"a url from outside": {"sources: {a: {http: {url: '${env:TEXT}', position: head_walk}}}\n" + goodSink, `1:27: sources.a.http.url: the value of "${env:TEXT}" is not an address: it begins with https:// or http:// and a host`},

		"feeds": {"sources:\n  a:\n    http: {url: 'https://x', position: head_walk}\n    feeds:\n      - {name: one, url: 'https://x/1', position: head_walk}\n      - {name: one, url: 'https://${env:TEXT}/2', position: head_walk, itmes: data}\n" + goodSink, `
3:40: sources.a.http.position: belongs to each of feeds; beside them http has only url, headers, auth, limits, errors, zone, layout
6:16: sources.a.feeds[1].name: is one, which another feed has; give each its own
6:72: sources.a.feeds[1].itmes: is not a key of a feed: did you mean items?`},
		"a feed elsewhere": {"sources:\n  a:\n    http: {url: 'https://x'}\n    feeds: [{name: one, url: '${env:TEXT}', position: head_walk}, {name: two, url: 'https://${env:TEXT}/2', position: head_walk}]\n" + goodSink, `
4:30: sources.a.feeds[0].url: the value of "${env:TEXT}" is not an address: it begins with https:// or http:// and a host
4:84: sources.a.feeds[1].url: is of another origin than http.url: credentials go to one origin only, so scheme, host and port must be the same`},
		"lost position": {source("on_lost_position: ask"), `4:23: sources.a.on_lost_position: is "ask", and must be one of from_time, stop, from_now`},
		"tls":           {source("tls: {cert: /c/key, ca: /c/none}"), "\n" + `4:11: sources.a.tls.cert: needs key beside it: the certificate's private key` + "\n" + `4:29: sources.a.tls.ca: the file /c/none does not exist`},
		"proxy":         {source("proxy: 'ftp://me:${env:TEXT}@x'"), `4:12: sources.a.proxy: the value is not the address of a proxy: it is http://, https:// or socks5:// and a host, or none`},
		"true or false": {"sources: {a: {http: {url: 'https://x', position: head_walk, limits: {validators: 'yes', rate: 0}}}}\n" + goodSink, "\n" + `1:82: sources.a.http.limits.validators: is text, and must be true or false` + "\n" + `1:95: sources.a.http.limits.rate: is "0", and must be a number from 0.0001 to 1000`},
		"a preset of one's own": {"presets: /p\nsources: {a: {preset: ./gone.yaml}, b: {preset: /c/key.yaml}, c: {preset: fleatpak}}\n" + goodSink, `
2:23: sources.a.preset: is the file /etc/gone.yaml, which can't be read: file does not exist
2:49: sources.b.preset: is the file /c/key.yaml, which is no preset: line 1, column 1: string was used where mapping is expected
2:75: sources.c.preset: is no preset that this version has: /p has no fleatpak.yaml; did you mean flatpeak? there is ` + strings.Join(recipe.Names(), ", ") + `; your own is a path, such as ./vendor.yaml`},

		"keys of the source in http": {"sources: {a: {http: {url: 'https://x', position: head_walk, cron: '@daily', start: now, cursor: c, since: s}}}\n" + goodSink, `
1:61: sources.a.http.cron: is not a key of an http source: it belongs to a source, as sources.a.cron
1:77: sources.a.http.start: is not a key of an http source: it belongs to a source, as sources.a.start
1:89: sources.a.http.cursor: is not a key of an http source: it belongs under sources.a.http.paging
1:100: sources.a.http.since: is not a key of an http source: it belongs under sources.a.http.window`},
		"in a list": {"sources:\n  a:\n    http: {url: https://x}\n    feeds:\n      - {name: one, url: 'https://x/1', position: head_walk, errors: [404]}\n      - {name: two}\n" + goodSink, `
5:71: sources.a.feeds[0].errors[0]: is a number, and must be a mapping (key: value)
6:9: sources.a.feeds[1].position: is missing; want head_walk, tail_cursor, time_window, ack or snapshot (head_walk for a list that is newest first)
6:9: sources.a.feeds[1].url: is missing; it is the address of the list, such as https://api.example.com/v1/events`},
		"a duration without a unit": {"sources: {a: {http: {url: 'https://x', position: head_walk, retain: 30}}}\n" + goodSink, `1:69: sources.a.http.retain: is "30"; want a duration such as 90s, 15m, 72h or 14d`},
		"JSONPath":                  {"sources: {a: {http: {url: 'https://x', position: head_walk, items: '$.data'}}}\n" + goodSink, `1:68: sources.a.http.items: is "$.data", a path as JSONPath or jq has it; here it is names with dots between them, such as data, user.name or items.0.id`},

		"no kind of sink":   {goodSource + "sinks: {b: {timeout: 3s}}\n", `2:9: sinks.b: does not say where to deliver to: write http, file or exec`},
		"two kinds of sink": {goodSource + "sinks: {b: {file: {path: /x}, exec: {command: [x]}}}\n", `2:31: sinks.b.exec: stands beside file: a sink has one of http, file and exec`},
		"odd password":      {goodSource + "sinks: {b: {http: {url: 'http://u:hush/hush-1234@x/'}}}\n", `2:25: sinks.b.http.url: can't be read: it must be http://HOST/PATH, https://HOST/PATH or unix:/SOCKET:/PATH, and a user or password in it have %40 for @, %2F for / and so on`},
		"@ in a password":   {goodSource + "sinks: {b: {http: {url: 'http://u:hush-1@hush-1234@x:0/'}}}\n", `2:25: sinks.b.http.url: is "http://x:0/" with a port that is none: write a number from 1 to 65535`},
		"sink url":          {goodSource + "sinks: {b: {http: {url: 'ftp://u:pw@x/?key=hush-1234'}}}\n", `2:25: sinks.b.http.url: is "ftp://x/", and must be http://HOST/PATH, https://HOST/PATH or unix:/SOCKET:/PATH`},
		"unix url":          {goodSource + "sinks: {b: {http: {url: 'unix:app.sock'}}}\n", `2:25: sinks.b.http.url: is "unix:app.sock", and must be unix:, the absolute path of a socket, a colon, and a path (unix:/run/app.sock:/webhooks)`},
		"no url":            {goodSource + "sinks: {b: {http: {}}}\n", `2:13: sinks.b.http.url: is missing: http://, https:// or unix:/SOCKET:/PATH`},
		"headers": {goodSource + "sinks:\n  b:\n    http:\n      url: http://x\n      headers:\n        Webhook-Id: x\n        tidings-x: x\n        host: x\n        'a b': x\n        content-type: x\n        A: x\n        a: x\n", `
7:9: sinks.b.http.headers.Webhook-Id: is set by the sink itself for each event: remove it
8:9: sinks.b.http.headers.tidings-x: is set by the sink itself for each event: remove it
9:9: sinks.b.http.headers.host: can't be set: it follows from url
10:9: sinks.b.http.headers.a b: can't be the name of a header: it has letters, digits and -
11:9: sinks.b.http.headers.content-type: can't be set: it follows from format
13:9: sinks.b.http.headers.a: stands twice, in upper and lower case: remove one`},
		"secret, no prefix": {goodSource + "sinks: {b: {http: {url: 'http://x', secret: '${credential:key}'}}}\n", `2:45: sinks.b.http.secret: does not begin with whsec_: it must be whsec_ and the base64 of 24 to 64 random bytes`},
		"secret, short":     {goodSource + "sinks: {b: {http: {url: 'http://x', secret: whsec_aHVzaA==}}}\n", `2:45: sinks.b.http.secret: has 4 bytes in base64 after whsec_: it must be whsec_ and the base64 of 24 to 64 random bytes`},
		"secret, no base64": {goodSource + "sinks: {b: {http: {url: 'http://x', secret: whsec_hush-1234}}}\n", `2:45: sinks.b.http.secret: is not base64 after whsec_: it must be whsec_ and the base64 of 24 to 64 random bytes`},
		"statuses": {goodSource + "sinks: {b: {http: {url: 'http://x', permanent_statuses: [410, 503, 200, 404, 404]}}}\n", `
2:58: sinks.b.http.permanent_statuses[0]: is 410, which pauses the sink and loses nothing: remove it
2:63: sinks.b.http.permanent_statuses[1]: is 503, by which a server asks to be asked again later: remove it
2:68: sinks.b.http.permanent_statuses[2]: is "200", and must be a whole number from 300 to 599
2:78: sinks.b.http.permanent_statuses[4]: is 404, which stands in the list already: remove it`},
		"strftime":        {goodSource + "sinks: {b: {file: {path: /x/%Q}}}\n", `2:26: sinks.b.file.path: is "/x/%Q", with a % that is no conversion of strftime: write %% for a percent sign, or such as %Y-%m-%d`},
		"directory":       {goodSource + "sinks: {b: {file: {path: /x/}}}\n", `2:26: sinks.b.file.path: is "/x/", a directory: write the path of a file in it, or spool for a file an event`},
		"path and spool":  {goodSource + "sinks: {b: {file: {path: /x, spool: /y}}}\n", `2:30: sinks.b.file.spool: stands beside path: a file sink has one of them`},
		"nowhere":         {goodSource + "sinks: {b: {file: {timezone: UTC}}}\n", `2:13: sinks.b.file: does not say where to write: path is one file with a line an event, spool a directory with a file an event`},
		"timezone, spool": {goodSource + "sinks: {b: {file: {spool: /x, timezone: UTC}}}\n", `2:31: sinks.b.file.timezone: is of the times in path, and spool has none: remove it`},
		"one path twice":  {goodSource + "sinks: {b: {file: {path: /x/y}}, c: {file: {path: /x/./y}}}\n", `2:51: sinks.c.file.path: is where the sink b writes too: give each its own`},
		"file, two":       {goodSource + "sinks: {b: {file: {path: /x}, concurrency: 2}}\n", `2:44: sinks.b.concurrency: is 2, and is always 1 for a file sink: its lines go one after the other`},
		"command line":    {goodSource + "sinks: {b: {exec: {command: ls -l}}}\n", `2:29: sinks.b.exec.command: is text, and must be a list of the program and its arguments ([/usr/local/bin/on-event, --verbose]): no shell reads it`},
		"empty command":   {goodSource + "sinks: {b: {exec: {command: []}}}\n", `2:29: sinks.b.exec.command: is an empty list, and must have the program and its arguments`},
		"no command":      {goodSource + "sinks: {b: {exec: }}\n", `2:13: sinks.b.exec.command: is missing: a list of the program and its arguments`},
		"relative":        {goodSource + "sinks: {b: {exec: {command: [bin/x]}}}\n", `2:30: sinks.b.exec.command[0]: is "bin/x", a path that depends on where the daemon is started: write an absolute one`},
		"variables": {goodSource + "sinks: {b: {exec: {command: [x], env: {A B: 1, TIDINGS_SINK: x}}}}\n", `
2:40: sinks.b.exec.env.A B: is not the name of an environment variable: it has letters, digits and _
2:48: sinks.b.exec.env.TIDINGS_SINK: is set by the daemon itself: give the variable another name than TIDINGS_…`},
		"timeout":        {goodSource + "sinks: {b: {file: {path: /x}, timeout: 0s}, c: {file: {path: /y}, timeout: 2h}}\n", "\n" + `2:40: sinks.b.timeout: is "0s", and must be at least 1ms` + "\n" + `2:76: sinks.c.timeout: is "2h", and must be at most 1h`},
		"format":         {goodSource + "sinks: {b: {file: {path: /x}, format: json}, c: {file: {path: /y}, format: cloudevents}}\n", "\n" + `2:39: sinks.b.format: is "json", and must be one of raw, envelope` + "\n" + `2:76: sinks.c.format: is cloudevents, which this version does not have: write raw or envelope`},
		"unknown source": {goodSource + "sinks: {b: {file: {path: /x}, sources: [billing]}}\n", `2:41: sinks.b.sources[0]: is no source of this configuration: there is a`},
		"concurrency":    {goodSource + "sinks: {b: {exec: {command: [x]}, concurrency: 0}, c: {exec: {command: [x]}, concurrency: 2.5}}\n", "\n" + `2:48: sinks.b.concurrency: is "0", and must be a whole number from 1 to 1024` + "\n" + `2:91: sinks.c.concurrency: is "2.5", and must be a whole number from 1 to 1024`},
		"order":          {goodSource + "sinks: {b: {exec: {command: [x]}, order: source, on_stuck: dead}}\n", "\n" + `2:42: sinks.b.order: is "source", and this version has only none: events are delivered as they come, failed ones later` + "\n" + `2:50: sinks.b.on_stuck: this version has no ordered sinks, so nothing gets stuck: remove the key`},
		"retry":          {goodSource + "sinks: {b: {exec: {command: [x]}, retry: {initial: 1h, jitter: -0.1, multiplier: 0.5, give_up_after: 0s}}}\n", "\n" + `2:52: sinks.b.retry.initial: makes the first wait (initial, 1h) longer than the longest (max, 15m): raise max or lower initial` + "\n" + `2:64: sinks.b.retry.jitter: is "-0.1", and must be a number from 0 to 1` + "\n" + `2:82: sinks.b.retry.multiplier: is "0.5", and must be a number from 1 to 100` + "\n" + `2:102: sinks.b.retry.give_up_after: is "0s", and must be at least 1s`},
		"positions are characters": {goodSource + "sinks: {\"ü\": 1, \"öä\": {}, b: {file: {path: /x, ü: 1}}}\n", `
2:9: sinks.ü: is not a name: a sink has 1 to 63 of a-z, 0-9, _ and -, and begins with a letter or digit
2:17: sinks.öä: is not a name: a sink has 1 to 63 of a-z, 0-9, _ and -, and begins with a letter or digit
2:48: sinks.b.file.ü: is not a key of a file sink: it has path, spool, timezone`},
	} {
		t.Run(name, func(t *testing.T) {
			_, problems := tryLoad(t, "/etc/c.yaml", test.text, vars, files)
			got := strings.ReplaceAll("\n"+problems.Error(), "\n/etc/c.yaml:", "\n")
			want := "\n" + strings.TrimPrefix(test.want, "\n")
			if got != want {
				t.Errorf("got%s\n\nwant%s\n\nof\n%s", got, want, test.text)
			}
			if strings.Contains(got, "hush-1234") {
				t.Errorf("shows a secret")
			}
		})
	}
}

func source(keys string) string {
	return "sources:\n  a:\n    preset: flatpeak\n    " + keys + "\n    with: {account_id: acc_1, api_key: k}\n" + goodSink
}

func TestBounds(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"size":  {strings.Repeat("#", maxFile+1), "the configuration is longer than 1 MiB: it is hardly one"},
		"depth": {strings.Repeat("[", maxTokens+1), "the configuration has more than 50000 words and signs: it is hardly one"},
		"merges": {
			goodSource + "sinks: {b: &x {file: {path: /x}, <<: [&y {<<: &z {<<: *x}}, *y, *y, *z, *x]}}\n",
			"the file's aliases stand for more than 25000 values: write them out, or fewer",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, problems := tryLoad(t, "/c.yaml", test.text, nil, nil)
			if len(problems.Problems) != 1 || problems.Problems[0].Text != test.want {
				t.Errorf("%.1000v", problems)
			}
		})
	}
}

// The keys of an http source are those of the recipe's types.
func TestHTTPSourceHasTheRecipesKeys(t *testing.T) {
	var want []string
	recipeKeys("", reflect.TypeFor[recipe.HTTP](), &want)

	var got []string
	text := `
sources:
  a:
    http:
      auth: {basic: {}, header: {}, login: {basic: {}}, oauth2: {}}
      paging: {}
      window: {}
      ack: {}
      seek: {}
      changes: {}
      for_each: {paging: {}}
      limits: {}
      errors: [{}]
`
	_, _, err := load("/c.yaml", fakeEnv(nil, map[string]string{"/c.yaml": text}), func(path string, keys []string) {
		rest, ok := strings.CutPrefix(path, "sources.a.http")
		if !ok {
			return
		}
		for _, key := range keys {
			got = append(got, strings.TrimPrefix(strings.ReplaceAll(rest, "[0]", "")+"."+key, "."))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the decoder has\n%v\nand the recipe\n%v", got, want)
	}
}
