package portmap

import (
	"encoding/xml"
	"fmt"
	"strings"
)

// The UPnP device (UPnP InternetGatewayDevice:1 and :2): each device holds the next.
//
//	InternetGatewayDevice ── WANDevice ── WANConnectionDevice
//	                          └ WANCommonInterfaceConfig   └ WANIPConnection
const (
	descriptionPath = "/rootDesc.xml"
	schemaURN       = "urn:schemas-upnp-org:"
)

// deviceType is a device or a service. Of services the version is the lesser of its own and the gateway's.
type deviceType struct {
	name     string
	services []*serviceType
}

type serviceType struct {
	name              string
	latest            int
	id, scpd, control string
	actions           []action
}

var deviceTypes = []deviceType{
	{name: "InternetGatewayDevice"},
	{name: "WANDevice", services: []*serviceType{&wanCommon}},
	{name: "WANConnectionDevice", services: []*serviceType{&wanIP}},
}

var wanCommon = serviceType{
	name: "WANCommonInterfaceConfig", latest: 1, id: "WANCommonIFC1", scpd: "/WANCfg.xml", control: "/ctl/CmnIfCfg",
	actions: []action{
		{name: "GetCommonLinkProperties", out: []string{
			"NewWANAccessType", "NewLayer1UpstreamMaxBitRate", "NewLayer1DownstreamMaxBitRate", "NewPhysicalLinkStatus",
		}, do: (*Core).getCommonLinkProperties},
	},
}

var wanIP = serviceType{
	name: "WANIPConnection", latest: 2, id: "WANIPConn1", scpd: "/WANIPCn.xml", control: "/ctl/IPConn",
	actions: []action{
		{name: "SetConnectionType", in: []string{"NewConnectionType"}, do: (*Core).refuseAction},
		{name: "GetConnectionTypeInfo", out: []string{"NewConnectionType", "NewPossibleConnectionTypes"}, do: (*Core).getConnectionTypeInfo},
		{name: "RequestConnection", do: (*Core).requestConnection},
		{name: "ForceTermination", do: (*Core).refuseAction},
		{name: "GetStatusInfo", out: []string{"NewConnectionStatus", "NewLastConnectionError", "NewUptime"}, do: (*Core).getStatusInfo},
		{name: "GetNATRSIPStatus", out: []string{"NewRSIPAvailable", "NewNATEnabled"}, do: (*Core).getNATRSIPStatus},
		{name: "GetGenericPortMappingEntry", in: []string{"NewPortMappingIndex"}, out: entryArguments, do: (*Core).getGeneric},
		{name: "GetSpecificPortMappingEntry", in: entryArguments[:3], out: entryArguments[3:], do: (*Core).getSpecific},
		{name: "AddPortMapping", in: entryArguments, do: (*Core).addPortMapping},
		{name: "DeletePortMapping", in: entryArguments[:3], do: (*Core).deletePortMapping},
		{name: "GetExternalIPAddress", out: []string{"NewExternalIPAddress"}, do: (*Core).getExternalIPAddress},
		{name: "AddAnyPortMapping", since: 2, in: entryArguments, out: []string{"NewReservedPort"}, do: (*Core).addAnyPortMapping},
		{name: "DeletePortMappingRange", since: 2, in: append(rangeArguments[:3:3], "NewManage"), do: (*Core).deletePortMappingRange},
		{name: "GetListOfPortMappings", since: 2, in: append(rangeArguments[:3:3], "NewManage", "NewNumberOfPorts"), out: []string{"NewPortListing"}, do: (*Core).getListOfPortMappings},
	},
}

var (
	rangeArguments = []string{"NewStartPort", "NewEndPort", "NewProtocol"}
	entryArguments = []string{
		"NewRemoteHost", "NewExternalPort", "NewProtocol",
		"NewInternalPort", "NewInternalClient", "NewEnabled", "NewPortMappingDescription", "NewLeaseDuration",
	}
)

// variables are the state variables behind the arguments, and their types.
var variables = map[string][2]string{
	"NewRemoteHost": {"RemoteHost", "string"}, "NewExternalPort": {"ExternalPort", "ui2"}, "NewProtocol": {"PortMappingProtocol", "string"},
	"NewInternalPort": {"InternalPort", "ui2"}, "NewInternalClient": {"InternalClient", "string"},
	"NewEnabled": {"PortMappingEnabled", "boolean"}, "NewPortMappingDescription": {"PortMappingDescription", "string"},
	"NewLeaseDuration": {"PortMappingLeaseDuration", "ui4"}, "NewPortMappingIndex": {"PortMappingNumberOfEntries", "ui2"},
	"NewConnectionType": {"ConnectionType", "string"}, "NewPossibleConnectionTypes": {"PossibleConnectionTypes", "string"},
	"NewConnectionStatus": {"ConnectionStatus", "string"}, "NewLastConnectionError": {"LastConnectionError", "string"},
	"NewUptime": {"Uptime", "ui4"}, "NewRSIPAvailable": {"RSIPAvailable", "boolean"}, "NewNATEnabled": {"NATEnabled", "boolean"},
	"NewExternalIPAddress": {"ExternalIPAddress", "string"}, "NewReservedPort": {"ExternalPort", "ui2"},
	"NewStartPort": {"ExternalPort", "ui2"}, "NewEndPort": {"ExternalPort", "ui2"},
	"NewManage": {"A_ARG_TYPE_Manage", "boolean"}, "NewNumberOfPorts": {"PortMappingNumberOfEntries", "ui2"},
	"NewPortListing":   {"A_ARG_TYPE_PortListing", "string"},
	"NewWANAccessType": {"WANAccessType", "string"}, "NewPhysicalLinkStatus": {"PhysicalLinkStatus", "string"},
	"NewLayer1UpstreamMaxBitRate": {"Layer1UpstreamMaxBitRate", "ui4"}, "NewLayer1DownstreamMaxBitRate": {"Layer1DownstreamMaxBitRate", "ui4"},
}

func (d deviceType) urn(version int) string {
	return fmt.Sprintf("%sdevice:%s:%d", schemaURN, d.name, version)
}

func (s *serviceType) version(gateway int) int { return min(s.latest, gateway) }

func (s *serviceType) urn(gateway int) string {
	return fmt.Sprintf("%sservice:%s:%d", schemaURN, s.name, s.version(gateway))
}

// description is the document that SSDP points to.
func (c *Core) description() string {
	var b strings.Builder
	b.WriteString(xml.Header)
	b.WriteString(`<root xmlns="urn:schemas-upnp-org:device-1-0"><specVersion><major>1</major><minor>1</minor></specVersion>`)
	for i, d := range deviceTypes {
		if i > 0 {
			b.WriteString("<deviceList>")
		}
		fmt.Fprintf(&b, "<device><deviceType>%s</deviceType><friendlyName>punchlab router %v</friendlyName>", d.urn(c.cfg.IGDVersion), c.router.Address)
		b.WriteString("<manufacturer>punchlab</manufacturer><manufacturerURL>https://github.com/punchlab/punchlab</manufacturerURL>")
		fmt.Fprintf(&b, "<modelDescription>emulated router</modelDescription><modelName>%s</modelName><modelNumber>1</modelNumber>", d.name)
		fmt.Fprintf(&b, "<serialNumber>%x</serialNumber><UDN>%s</UDN>", c.router.Address.AsSlice(), c.uuid(i))
		if len(d.services) > 0 {
			b.WriteString("<serviceList>")
			for _, s := range d.services {
				fmt.Fprintf(&b, "<service><serviceType>%s</serviceType><serviceId>urn:upnp-org:serviceId:%s</serviceId>", s.urn(c.cfg.IGDVersion), s.id)
				fmt.Fprintf(&b, "<SCPDURL>%s</SCPDURL><controlURL>%s</controlURL><eventSubURL></eventSubURL></service>", s.scpd, s.control)
			}
			b.WriteString("</serviceList>")
		}
	}
	for range len(deviceTypes) - 1 {
		b.WriteString("</device></deviceList>")
	}
	b.WriteString("</device></root>")
	return b.String()
}

// scpd describes a service's actions and the variables of their arguments.
func (c *Core) scpd(s *serviceType) string {
	var b strings.Builder
	b.WriteString(xml.Header)
	b.WriteString(`<scpd xmlns="urn:schemas-upnp-org:service-1-0"><specVersion><major>1</major><minor>1</minor></specVersion><actionList>`)
	var used [][2]string
	seen := map[string]bool{}
	for _, a := range s.actions {
		if a.since > s.version(c.cfg.IGDVersion) {
			continue
		}
		fmt.Fprintf(&b, "<action><name>%s</name><argumentList>", a.name)
		for i, arg := range append(a.in[:len(a.in):len(a.in)], a.out...) {
			direction := "in"
			if i >= len(a.in) {
				direction = "out"
			}
			v := variables[arg]
			fmt.Fprintf(&b, "<argument><name>%s</name><direction>%s</direction><relatedStateVariable>%s</relatedStateVariable></argument>", arg, direction, v[0])
			if !seen[v[0]] {
				seen[v[0]] = true
				used = append(used, v)
			}
		}
		b.WriteString("</argumentList></action>")
	}
	b.WriteString("</actionList><serviceStateTable>")
	for _, v := range used {
		fmt.Fprintf(&b, `<stateVariable sendEvents="no"><name>%s</name><dataType>%s</dataType></stateVariable>`, v[0], v[1])
	}
	b.WriteString("</serviceStateTable></scpd>")
	return b.String()
}
