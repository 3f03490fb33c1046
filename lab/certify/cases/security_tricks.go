package cases

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// trick is a way to ask for what only the owner may: without credentials, with wrong ones, in another order, or past the check.
type trick struct {
	name           string
	headers        []string
	target         func(string) string // of the request's
	method         func(string) string
	user, password string // that are offered, however the camera asks for them; both empty: none
	ordered        bool   // behind a request of the owner's on one connection
}

// tricksOf are the tricks for a way, guesses last: cameras may keep everybody out for a while after those.
func tricksOf(w wayIn) []trick {
	at := func(f func(path, query string) string) func(string) string {
		return func(target string) string {
			path, query, has := strings.Cut(target, "?")
			if has {
				query = "?" + query
			}
			return f(path, query)
		}
	}
	with := func(more string) func(string) string {
		return func(target string) string {
			if strings.Contains(target, "?") {
				return target + "&" + more
			}
			return target + "?" + more
		}
	}
	all := []trick{
		{name: "without credentials"},
		{name: "behind the owner's request, on one connection", ordered: true},
		{name: "by an empty authorization", headers: []string{"Authorization:"}},
		{name: "by an authorization without credentials", headers: []string{"Authorization: Basic"}},
		{name: "by a bearer that is nobody", headers: []string{"Authorization: Bearer null"}},
		{name: "by a digest of nothing", headers: []string{`Authorization: Digest username="` + w.User + `", response=""`}},
		{name: "by the cookie uid=admin (CVE-2018-9995)", headers: []string{"Cookie: uid=admin"}},
		{name: "by a session that was never opened", headers: []string{"Cookie: session=1; SessionID=1; userid=" + w.User + "; logged_in=1; admin=1"}},
		{name: "by ?auth=YWRtaW46MTEK (CVE-2017-7921)", target: with("auth=YWRtaW46MTEK")},
		{name: "by an empty user and password in the query (CVE-2017-8225)", target: with("loginuse&loginpas")},
		{name: "by the user's name in the query", target: with("user=" + url.QueryEscape(w.User) + "&pwd=")},
		{name: "as if from itself", headers: []string{"X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1", "Forwarded: for=127.0.0.1"}},
		{name: "as a local host", headers: []string{"Host: localhost"}},
		{name: "as a page of its own", headers: []string{"Referer: http://127.0.0.1/", "Origin: http://127.0.0.1"}},
		{name: "as a request for another place", headers: []string{"X-Original-URL: /", "X-Rewrite-URL: /"}},
		{name: "by a doubled slash", target: at(func(p, q string) string { return "/" + p + q })},
		{name: "by a slash behind", target: at(func(p, q string) string { return p + "/" + q })},
		{name: "by a dot", target: at(func(p, q string) string { return "/." + p + q })},
		{name: "by a way up", target: at(func(p, q string) string { return "/images/.." + p + q })},
		{name: "as a picture", target: at(func(p, q string) string { return p + "/logo.png" + q })},
		{name: "as a picture, by a parameter", target: with("logo.png")},
		{name: "by a path parameter", target: at(func(p, q string) string { return p + ";logo.png" + q })},
		{name: "by an escaped letter", target: at(func(p, q string) string { return escapeFirst(p) + q })},
		{name: "by an escaped end", target: at(func(p, q string) string { return p + "%00" + q })},
		{name: "in capitals", target: at(func(p, q string) string { return strings.ToUpper(p) + q })},
		{name: "by a whole URL", target: func(t string) string { return "http://127.0.0.1" + t }},
		{name: "by another method", method: func(m string) string {
			if m == "POST" {
				return "PUT"
			}
			return "POST"
		}},
		{name: "by PATCH", method: func(string) string { return "PATCH" }},
		{name: "by a method in small letters", method: strings.ToLower},
		{name: "by an overridden method", method: func(string) string { return "POST" }, headers: []string{"X-HTTP-Method-Override: " + w.Change.Method}},
	}
	return append(all, guesses(w)...)
}

// guesses are wrong credentials: everybody's, and some that resemble the right ones.
func guesses(w wayIn) (all []trick) {
	passwords := map[string]bool{}
	for _, p := range []string{"", "admin", "12345", "123456", "888888", "password", w.User, strings.ToUpper(w.Password),
		w.Password + "x", "x" + w.Password, strings.Repeat("x", 300)} {
		passwords[p] = true
	}
	if n := len(w.Password); n > 1 {
		passwords[w.Password[:n-1]], passwords[w.Password[:1]] = true, true
	}
	delete(passwords, w.Password)
	for _, p := range slices.Sorted(maps.Keys(passwords)) {
		what := fmt.Sprintf("by a wrong password of %d characters", len(p))
		if p == "" {
			what = "by a blank password"
		}
		all = append(all, trick{name: what, user: w.User, password: p})
	}
	return append(all, trick{name: "by the password without the user", password: w.Password},
		trick{name: "by the password for another user", user: w.User + "2", password: w.Password})
}

// escapeFirst writes a path's first letter in another way.
func escapeFirst(path string) string {
	if len(path) < 2 {
		return path
	}
	return fmt.Sprintf("/%%%02x%s", path[1], path[2:])
}

// fill puts values in a request's places for them.
func (d *door) fill(r request, value string) (line, string, error) {
	in := func(s string, escape func(string) string) string {
		return strings.NewReplacer("{user}", escape(d.way.User), "{password}", escape(d.way.Password), "{value}", escape(value)).Replace(s)
	}
	address, target, err := place(in(r.URL, url.QueryEscape))
	if err != nil {
		return line{}, "", fmt.Errorf("configuration.json, %s: %w", d.way.Name, err)
	}
	l := line{method: r.Method, target: target, body: in(r.Body, func(s string) string { return s })}
	if l.method == "" {
		l.method = "GET"
	}
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		l.headers = append(l.headers, name+": "+r.Headers[name])
	}
	return l, address, nil
}

// asOwner asks with the right credentials.
func (d *door) asOwner(ctx context.Context, r request, value string) (reply, error) {
	l, address, err := d.fill(r, value)
	if err != nil {
		return reply{}, err
	}
	if d.way.Login != nil {
		return d.loggedIn(ctx, l, address, value)
	}
	return d.proving(ctx, l, address, d.way.User, d.way.Password)
}

// loggedIn asks with the cookies that the way's login gives to the door's user.
func (d *door) loggedIn(ctx context.Context, l line, address, value string) (reply, error) {
	login, at, err := d.fill(*d.way.Login, value)
	if err != nil {
		return reply{}, err
	}
	in, err := exchange(ctx, d.m, at, login)
	if err != nil {
		return reply{}, err
	}
	for _, c := range in.header["Set-Cookie"] {
		cookie, _, _ := strings.Cut(c, ";")
		l.headers = append(l.headers, "Cookie: "+cookie)
	}
	return exchange(ctx, d.m, address, l)
}

// proving asks, and asks again with credentials if they are asked for.
func (d *door) proving(ctx context.Context, l line, address, user, password string) (reply, error) {
	got, err := exchange(ctx, d.m, address, l)
	if err != nil || got.code != 401 {
		return got, err
	}
	proof, ok := authorization(got.header["Www-Authenticate"], l.method, l.target, user, password)
	if !ok {
		return got, nil
	}
	l.headers = append(l.headers, proof)
	return exchange(ctx, d.m, address, l)
}

// send asks by a trick.
func (d *door) send(ctx context.Context, t trick, r request, value string) (reply, error) {
	l, address, err := d.fill(r, value)
	if err != nil {
		return reply{}, err
	}
	right := l
	l.headers = append(slices.Clone(l.headers), t.headers...)
	if t.target != nil {
		l.target = t.target(l.target)
	}
	if t.method != nil {
		l.method = t.method(l.method)
	}
	if t.user != "" || t.password != "" {
		return d.guess(ctx, t, l, address)
	}
	if t.ordered && d.way.Login == nil {
		right.method, right.body = "GET", ""
		if first, err := exchange(ctx, d.m, address, right); err == nil && first.code == 401 {
			if proof, ok := authorization(first.header["Www-Authenticate"], right.method, right.target, d.way.User, d.way.Password); ok {
				right.headers = append(slices.Clone(right.headers), proof)
			}
		}
		return exchange(ctx, d.m, address, right, l)
	}
	return exchange(ctx, d.m, address, l)
}

// guess asks with wrong credentials, in the way in which the camera asks for the right ones.
func (d *door) guess(ctx context.Context, t trick, l line, address string) (reply, error) {
	if d.way.Login == nil {
		return d.proving(ctx, l, address, t.user, t.password)
	}
	wrong := *d
	wrong.way.User, wrong.way.Password = t.user, t.password
	return wrong.loggedIn(ctx, l, address, "")
}
