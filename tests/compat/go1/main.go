// An agent made of the official Go SDK, version 1, for the tests to drive: the twin of ../python/peer.py.
package main

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"time"

	"golang.ngrok.com/ngrok"
	"golang.ngrok.com/ngrok/config"
)

type endpoint struct {
	Proto    string  `json:"proto"`
	Upstream string  `json:"upstream"`
	Options  [][]any `json:"options"`
}

type ask struct {
	Server    string     `json:"server"`
	CA        string     `json:"ca"`
	Token     string     `json:"token"`
	Metadata  string     `json:"metadata"`
	Heartbeat int        `json:"heartbeat"`
	Persist   bool       `json:"persist"`
	Legs      bool       `json:"legs"`
	Endpoints []endpoint `json:"endpoints"`
}

type order struct {
	Do       string   `json:"do"`
	ID       string   `json:"id"`
	Endpoint endpoint `json:"endpoint"`
}

func tell(event string, fields map[string]any) {
	fields["event"] = event
	line, _ := json.Marshal(fields)
	fmt.Println(string(line))
}

func codeOf(err error) string {
	var coded ngrok.Error
	if errors.As(err, &coded) {
		return coded.ErrorCode()
	}
	return ""
}

// The start of this SDK races with a login that is quicker than itself (the first setInner of Connect takes away what
// the login has set), and it panics at the first bind then: the dial waits for it.
type patient struct{ net.Dialer }

func (p *patient) Dial(network, address string) (net.Conn, error) {
	return p.DialContext(context.Background(), network, address)
}

func (p *patient) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	time.Sleep(20 * time.Millisecond)
	return p.Dialer.DialContext(ctx, network, address)
}

func told(event string, err error) {
	tell(event, map[string]any{"text": err.Error(), "code": codeOf(err)})
}

// Options by what they fit; most of the SDK's fit several protocols.
type options struct {
	http   []config.HTTPEndpointOption
	tcp    []config.TCPEndpointOption
	tls    []config.TLSEndpointOption
	labels []config.LabeledTunnelOption
}

func (o *options) add(option any) {
	if fits, ok := option.(config.HTTPEndpointOption); ok {
		o.http = append(o.http, fits)
	}
	if fits, ok := option.(config.TCPEndpointOption); ok {
		o.tcp = append(o.tcp, fits)
	}
	if fits, ok := option.(config.TLSEndpointOption); ok {
		o.tls = append(o.tls, fits)
	}
	if fits, ok := option.(config.LabeledTunnelOption); ok {
		o.labels = append(o.labels, fits)
	}
}

func option(name string, given []string) (any, error) {
	switch name {
	case "domain":
		return config.WithDomain(given[0]), nil
	case "scheme":
		return config.WithScheme(config.Scheme(given[0])), nil
	case "remote_addr":
		return config.WithRemoteAddr(given[0]), nil
	case "label":
		return config.WithLabel(given[0], given[1]), nil
	case "metadata":
		return config.WithMetadata(given[0]), nil
	case "pooling_enabled":
		return config.WithPoolingEnabled(given[0] == "true"), nil
	case "basic_auth":
		return config.WithBasicAuth(given[0], given[1]), nil
	case "allow_cidr":
		return config.WithAllowCIDRString(given[0]), nil
	case "deny_cidr":
		return config.WithDenyCIDRString(given[0]), nil
	case "request_header":
		return config.WithRequestHeader(given[0], given[1]), nil
	case "response_header":
		return config.WithResponseHeader(given[0], given[1]), nil
	case "remove_request_header":
		return config.WithRemoveRequestHeader(given[0]), nil
	case "remove_response_header":
		return config.WithRemoveResponseHeader(given[0]), nil
	case "compression":
		return config.WithCompression(), nil
	case "circuit_breaker":
		ratio, err := strconv.ParseFloat(given[0], 64)
		return config.WithCircuitBreaker(ratio), err
	case "allow_user_agent":
		return config.WithAllowUserAgent(given[0]), nil
	case "deny_user_agent":
		return config.WithDenyUserAgent(given[0]), nil
	case "websocket_tcp_conversion":
		return config.WithWebsocketTCPConversion(), nil
	case "webhook_verification":
		return config.WithWebhookVerification(given[0], given[1]), nil
	case "app_protocol":
		return config.WithAppProtocol(given[0]), nil
	case "proxy_proto":
		version, err := strconv.Atoi(given[0])
		return config.WithProxyProto(config.ProxyProtoVersion(version)), err
	case "termination":
		if given[0] == "" {
			return config.WithTLSTermination(), nil
		}
		pair := config.WithTLSTerminationKeyPair([]byte(given[0]), []byte(given[1]))
		return config.WithTLSTermination(pair), nil
	case "mutual_tlsca":
		block, _ := pem.Decode([]byte(given[0]))
		ca, err := x509.ParseCertificate(block.Bytes)
		return config.WithMutualTLSCA(ca), err
	case "oauth":
		return config.WithOAuth(given[0]), nil
	case "oidc":
		return config.WithOIDC(given[0], given[1], given[2]), nil
	case "traffic_policy":
		return config.WithTrafficPolicy(given[0]), nil
	}
	return nil, fmt.Errorf("this program knows no option %q", name)
}

func tunnel(e endpoint) (config.Tunnel, error) {
	var all options
	for _, asked := range e.Options {
		var given []string
		for _, value := range asked[1:] {
			given = append(given, fmt.Sprint(value))
		}
		made, err := option(asked[0].(string), given)
		if err != nil {
			return nil, err
		}
		all.add(made)
	}
	switch e.Proto {
	case "http":
		return config.HTTPEndpoint(all.http...), nil
	case "tcp":
		return config.TCPEndpoint(all.tcp...), nil
	case "tls":
		return config.TLSEndpoint(all.tls...), nil
	case "labeled":
		return config.LabeledTunnel(all.labels...), nil
	}
	return nil, fmt.Errorf("this program knows no protocol %q", e.Proto)
}

func bind(ctx context.Context, session ngrok.Session, e endpoint) (ngrok.Forwarder, error) {
	cfg, err := tunnel(e)
	if err != nil {
		return nil, err
	}
	upstream, err := url.Parse(e.Upstream)
	if err != nil {
		return nil, err
	}
	forwarder, err := session.ListenAndForward(ctx, upstream, cfg)
	if err != nil {
		return nil, err
	}
	tell("up", map[string]any{
		"url": forwarder.URL(), "id": forwarder.ID(), "labels": forwarder.Labels(), "metadata": forwarder.Metadata(),
	})
	return forwarder, nil
}

func run() error {
	var want ask
	if err := json.Unmarshal([]byte(os.Args[1]), &want); err != nil {
		return err
	}
	cas, err := os.ReadFile(want.CA)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cas)

	// This SDK tries a refused login again until its context ends: the first refusal ends it, unless told to persist.
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var refusal error
	asked := []ngrok.ConnectOption{
		ngrok.WithAuthtoken(want.Token), ngrok.WithServer(want.Server), ngrok.WithCA(pool), ngrok.WithMetadata(want.Metadata),
		ngrok.WithDialer(&patient{}),
		ngrok.WithDisconnectHandler(func(_ context.Context, _ ngrok.Session, err error) {
			if err == nil {
				return
			}
			told("disconnected", err)
			if codeOf(err) != "" && !want.Persist {
				refusal = err
				stop()
			}
		}),
		ngrok.WithHeartbeatHandler(func(_ context.Context, _ ngrok.Session, latency time.Duration) {
			tell("heartbeat", map[string]any{"ms": latency.Seconds() * 1000})
		}),
	}
	if want.Legs {
		asked = append(asked, ngrok.WithMultiLeg(true))
	}
	if want.Heartbeat > 0 {
		asked = append(asked, ngrok.WithHeartbeatInterval(time.Duration(want.Heartbeat)*time.Second))
	}
	session, err := ngrok.Connect(ctx, asked...)
	if refusal != nil {
		return refusal
	}
	if err != nil {
		return err
	}
	tell("session", map[string]any{})
	bound := map[string]ngrok.Forwarder{}
	for _, e := range want.Endpoints {
		forwarder, err := bind(ctx, session, e)
		if err != nil {
			return err
		}
		bound[forwarder.ID()] = forwarder
	}
	orders := bufio.NewScanner(os.Stdin)
	orders.Buffer(nil, 1<<20)
	for orders.Scan() {
		var order order
		if err := json.Unmarshal(orders.Bytes(), &order); err != nil {
			return err
		}
		if order.Do == "close" {
			if err := bound[order.ID].Close(); err != nil {
				return err
			}
			tell("down", map[string]any{"id": order.ID})
		} else if forwarder, err := bind(ctx, session, order.Endpoint); err != nil {
			told("refused", err)
		} else {
			bound[forwarder.ID()] = forwarder
		}
	}
	err = session.Close()
	tell("closed", map[string]any{})
	return err
}

func main() {
	if err := run(); err != nil {
		told("refused", err)
		os.Exit(1)
	}
}
