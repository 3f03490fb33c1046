package portmap

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxBody is the longest request that is read.
const maxBody = 64 << 10

// Request is one by HTTP, to the description or to a service.
type Request struct {
	Method, Path string
	Action       string // the SOAPAction header
	Body         []byte
}

// Response is the answer. Its body is XML, or empty.
type Response struct {
	Status int
	Body   []byte
}

// HTTP status codes.
const (
	statusOK       = 200
	statusNotFound = 404
	statusMethod   = 405
	statusError    = 500
)

// action is one that a service offers.
type action struct {
	name    string
	since   int // version of the service; zero: the first
	in, out []string
	do      func(c *Core, now time.Duration, client netip.Addr, args arguments) ([]string, error)
}

// arguments are those of an action by name; all that it takes are there.
type arguments map[string]string

// HTTP answers a request.
func (c *Core) HTTP(now time.Duration, from netip.AddrPort, r Request) Response {
	response, reason := c.http(now, from, r)
	c.counts[reason]++
	return response
}

func (c *Core) http(now time.Duration, from netip.AddrPort, r Request) (Response, Reason) {
	if !c.fromLAN(from.Addr()) {
		return Response{Status: statusNotFound}, Foreign
	}
	for _, s := range []*serviceType{&wanCommon, &wanIP} {
		switch {
		case r.Path == s.control && r.Method == "POST":
			return c.control(now, from.Addr(), s, r)
		case r.Path == s.control:
			return Response{Status: statusMethod}, Malformed
		case r.Path == s.scpd:
			return document(r, c.scpd(s))
		}
	}
	if r.Path == descriptionPath {
		return document(r, c.description())
	}
	return Response{Status: statusNotFound}, Unsupported
}

func document(r Request, body string) (Response, Reason) {
	if r.Method != "GET" && r.Method != "HEAD" {
		return Response{Status: statusMethod}, Malformed
	}
	return Response{statusOK, []byte(body)}, Told
}

// upnpError is what an action fails with.
type upnpError struct {
	code   int
	text   string
	reason Reason
}

func (e *upnpError) Error() string { return strconv.Itoa(e.code) + " " + e.text }

// Errors of the UPnP Device Architecture §3.2.2 and of WANIPConnection:2 §2.5.
var (
	errInvalidAction  = &upnpError{401, "Invalid Action", Unsupported}
	errInvalidArgs    = &upnpError{402, "Invalid Args", Malformed}
	errActionFailed   = &upnpError{501, "Action Failed", Failed}
	errOutOfRange     = &upnpError{601, "Argument Value Out of Range", Malformed}
	errNotAuthorized  = &upnpError{606, "Action not authorized", Denied}
	errInvalidIndex   = &upnpError{713, "SpecifiedArrayIndexInvalid", Told}
	errNoSuchEntry    = &upnpError{714, "NoSuchEntryInArray", Told}
	errWildcardPort   = &upnpError{716, "WildCardNotPermittedInExtPort", Denied}
	errConflict       = &upnpError{718, "ConflictInMappingEntry", Taken}
	errOnlyPermanent  = &upnpError{725, "OnlyPermanentLeasesSupported", Denied}
	errNoPortMaps     = &upnpError{728, "NoPortMapsAvailable", Failed}
	errNotFound       = &upnpError{730, "PortMappingNotFound", Told}
	errWildcardInside = &upnpError{732, "WildCardNotPermittedInIntPort", Denied}
	errInconsistent   = &upnpError{733, "InconsistentParameters", Malformed}
)

// control runs the action that a SOAP envelope asks for (UPnP Device Architecture §3.1).
func (c *Core) control(now time.Duration, client netip.Addr, s *serviceType, r Request) (Response, Reason) {
	call, err := parseEnvelope(r.Body)
	if err != nil {
		return fault(errInvalidArgs), Malformed
	}
	out, reason, err := c.call(now, client, s, r.Action, call)
	if err != nil {
		failure, ok := errors.AsType[*upnpError](err)
		if !ok {
			failure = errActionFailed
		}
		return fault(failure), failure.reason
	}
	return Response{statusOK, out}, reason
}

func (c *Core) call(now time.Duration, client netip.Addr, s *serviceType, header string, e envelope) ([]byte, Reason, error) {
	name, version, ok := cutVersion(e.namespace)
	if !ok || name != schemaURN+"service:"+s.name || version < 1 || version > s.version(c.cfg.IGDVersion) {
		return nil, 0, errInvalidAction
	}
	if header = strings.Trim(header, `"`); header != "" && header != e.namespace+"#"+e.action {
		return nil, 0, errInvalidAction
	}
	i := slices.IndexFunc(s.actions, func(a action) bool { return a.name == e.action && a.since <= version })
	if i < 0 {
		return nil, 0, errInvalidAction
	}
	a := &s.actions[i]
	for _, arg := range a.in {
		if _, ok := e.args[arg]; !ok {
			return nil, 0, errInvalidArgs
		}
	}
	values, err := a.do(c, now, client, e.args)
	if err != nil {
		return nil, 0, err
	}
	reason := Told
	switch {
	case strings.HasPrefix(a.name, "Add"):
		reason = Mapped
	case strings.HasPrefix(a.name, "Delete"):
		reason = Unmapped
	}
	return answer(e, a.out, values), reason, nil
}

// envelope is a SOAP request's action.
type envelope struct {
	namespace, action string
	args              arguments
}

var errEnvelope = errors.New("not a SOAP envelope with one action")

// parseEnvelope reads Envelope → Body → action → arguments. Namespaces matter only for the action.
func parseEnvelope(b []byte) (e envelope, err error) {
	if len(b) > maxBody {
		return e, errEnvelope
	}
	d := xml.NewDecoder(bytes.NewReader(b))
	var path []string
	var text strings.Builder
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) && len(path) == 0 && e.action != "" {
			return e, nil
		}
		if err != nil {
			return e, errEnvelope
		}
		switch t := token.(type) {
		case xml.StartElement:
			path = append(path, t.Name.Local)
			text.Reset()
			if !e.enter(path, t.Name) {
				return e, errEnvelope
			}
		case xml.EndElement:
			if len(path) == 4 && path[1] == "Body" {
				e.args[path[3]] = text.String()
			}
			path = path[:len(path)-1]
		case xml.CharData:
			text.Write(t)
		}
	}
}

// enter checks that an element may stand where it does.
func (e *envelope) enter(path []string, name xml.Name) bool {
	if len(path) > 2 && path[1] == "Header" {
		return true
	}
	switch len(path) {
	case 1:
		return name.Local == "Envelope" && e.action == ""
	case 2:
		return name.Local == "Body" || name.Local == "Header"
	case 3:
		if e.action != "" {
			return false
		}
		e.namespace, e.action, e.args = name.Space, name.Local, arguments{}
		return true
	case 4:
		_, twice := e.args[name.Local]
		return !twice
	default:
		return false
	}
}

const (
	envelopeOpen  = xml.Header + `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>`
	envelopeClose = `</s:Body></s:Envelope>`
)

func answer(e envelope, names, values []string) []byte {
	var b bytes.Buffer
	b.WriteString(envelopeOpen + "<u:" + e.action + `Response xmlns:u="` + e.namespace + `">`)
	for i, name := range names {
		value := escape(values[i])
		if name == "NewPortListing" { // a document; libminiupnpc wants it so, and it holds no "]]>", since > is escaped in it
			value = "<![CDATA[" + values[i] + "]]>"
		}
		b.WriteString("<" + name + ">" + value + "</" + name + ">")
	}
	b.WriteString("</u:" + e.action + "Response>" + envelopeClose)
	return b.Bytes()
}

func fault(e *upnpError) Response {
	return Response{statusError, []byte(envelopeOpen +
		"<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>" +
		`<UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>` + strconv.Itoa(e.code) + "</errorCode>" +
		"<errorDescription>" + e.text + "</errorDescription></UPnPError></detail></s:Fault>" + envelopeClose)}
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder does not fail
	return b.String()
}
