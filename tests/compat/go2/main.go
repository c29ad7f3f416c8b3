// An agent made of the official Go SDK, version 2, for the tests to drive: the twin of ../python/peer.py.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"time"

	"golang.ngrok.com/ngrok/v2"
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

// The error of a login comes in an event, without the type that has the code.
var codeInText = regexp.MustCompile(`ERR_NGROK_\d+`)

func codeOf(err error) string {
	var coded ngrok.Error
	if errors.As(err, &coded) {
		return coded.Code()
	}
	return codeInText.FindString(err.Error())
}

func told(event string, err error) {
	tell(event, map[string]any{"text": err.Error(), "code": codeOf(err)})
}

// This SDK has two kinds of options, of the endpoint and of the upstream.
type options struct {
	endpoint []ngrok.EndpointOption
	upstream []ngrok.UpstreamOption
}

func (o *options) add(name string, given []string) error {
	switch name {
	case "url":
		o.endpoint = append(o.endpoint, ngrok.WithURL(given[0]))
	case "pooling_enabled":
		o.endpoint = append(o.endpoint, ngrok.WithPoolingEnabled(given[0] == "true"))
	case "metadata":
		o.endpoint = append(o.endpoint, ngrok.WithMetadata(given[0]))
	case "bindings":
		o.endpoint = append(o.endpoint, ngrok.WithBindings(given...))
	case "traffic_policy":
		o.endpoint = append(o.endpoint, ngrok.WithTrafficPolicy(given[0]))
	case "agent_termination":
		pair, err := tls.X509KeyPair([]byte(given[0]), []byte(given[1]))
		if err != nil {
			return err
		}
		config := &tls.Config{Certificates: []tls.Certificate{pair}}
		o.endpoint = append(o.endpoint, ngrok.WithAgentTLSTermination(config))
	case "app_protocol":
		o.upstream = append(o.upstream, ngrok.WithUpstreamProtocol(given[0]))
	case "proxy_proto":
		o.upstream = append(o.upstream, ngrok.WithUpstreamProxyProto(ngrok.ProxyProtoVersion("v"+given[0])))
	default:
		return fmt.Errorf("this program knows no option %q", name)
	}
	return nil
}

func bind(ctx context.Context, agent ngrok.Agent, e endpoint) (ngrok.EndpointForwarder, error) {
	var all options
	for _, asked := range e.Options {
		var given []string
		for _, value := range asked[1:] {
			given = append(given, fmt.Sprint(value))
		}
		if err := all.add(asked[0].(string), given); err != nil {
			return nil, err
		}
	}
	forwarder, err := agent.Forward(ctx, ngrok.WithUpstream(e.Upstream, all.upstream...), all.endpoint...)
	if err != nil {
		return nil, err
	}
	tell("up", map[string]any{
		"url": forwarder.URL().String(), "id": forwarder.ID(), "labels": map[string]string{}, "metadata": forwarder.Metadata(),
	})
	return forwarder, nil
}

func run() error {
	var want ask
	if err := json.Unmarshal([]byte(os.Args[1]), &want); err != nil {
		return err
	}
	pem, err := os.ReadFile(want.CA)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	// This SDK tries a refused login again until its context ends: the first refusal ends it, unless told to persist.
	var refusal error
	asked := []ngrok.AgentOption{
		ngrok.WithAuthtoken(want.Token), ngrok.WithAgentConnectURL(want.Server), ngrok.WithAgentConnectCAs(pool),
		ngrok.WithAgentMetadata(want.Metadata),
		ngrok.WithEventHandler(func(event ngrok.Event) {
			switch event := event.(type) {
			case *ngrok.EventAgentDisconnected:
				if event.Error == nil {
					return
				}
				told("disconnected", event.Error)
				if codeOf(event.Error) != "" && !want.Persist {
					refusal = event.Error
					stop()
				}
			case *ngrok.EventAgentHeartbeatReceived:
				tell("heartbeat", map[string]any{"ms": event.Latency.Seconds() * 1000})
			}
		}),
	}
	if want.Legs {
		asked = append(asked, ngrok.WithMultiLeg(true))
	}
	if want.Heartbeat > 0 {
		asked = append(asked, ngrok.WithHeartbeatInterval(time.Duration(want.Heartbeat)*time.Second))
	}
	agent, err := ngrok.NewAgent(asked...)
	if err != nil {
		return err
	}
	if err := agent.Connect(ctx); err != nil {
		if refusal != nil {
			return refusal
		}
		return err
	}
	tell("session", map[string]any{})
	bound := map[string]ngrok.EndpointForwarder{}
	for _, e := range want.Endpoints {
		forwarder, err := bind(ctx, agent, e)
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
		} else if forwarder, err := bind(ctx, agent, order.Endpoint); err != nil {
			told("refused", err)
		} else {
			bound[forwarder.ID()] = forwarder
		}
	}
	err = agent.Disconnect()
	tell("closed", map[string]any{})
	return err
}

func main() {
	if err := run(); err != nil {
		told("refused", err)
		os.Exit(1)
	}
}
