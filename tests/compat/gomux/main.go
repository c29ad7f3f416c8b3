// An edge made of the Go multiplexer, for the tests to drive: it says yes to every login and bind, and visits the
// endpoints when a line of its standard input says so. Writes one JSON event a line.
package main

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.ngrok.com/muxado/v2"
)

const (
	auth = iota
	bind
	unbind
	proxy
)

type order struct {
	Do    string `json:"do"`
	ID    string `json:"id"`
	Bytes int64  `json:"bytes"`
}

// What the agent asks, as far as it matters here.
type request struct {
	ID       string         `json:"Id"`
	ClientID string         `json:"ClientId"`
	Proto    string         `json:"Proto"`
	Opts     map[string]any `json:"Opts"`
}

func tell(event string, fields map[string]any) {
	fields["event"] = event
	line, _ := json.Marshal(fields)
	fmt.Println(string(line))
}

func fatal(err error) {
	if err != nil {
		tell("failed", map[string]any{"text": err.Error()})
		os.Exit(1)
	}
}

func answer(asked request, kind muxado.StreamType) map[string]any {
	switch kind {
	case auth:
		id := asked.ClientID
		if id == "" {
			id = "client-1"
		}
		return map[string]any{"Version": "3", "ClientId": id, "Error": "", "Extra": map[string]any{"Cookie": "crumbs"}}
	case bind:
		id := asked.ID
		if id == "" {
			id = "bind-1"
		}
		return map[string]any{
			"Id": id, "URL": asked.Proto + "://mux.example:1", "Proto": asked.Proto, "Opts": asked.Opts, "Error": "",
			"Extra": map[string]any{"Token": "token-1"},
		}
	}
	return map[string]any{"Error": ""}
}

// A request and its answer.
func serve(stream muxado.TypedStream) {
	defer stream.Close()
	var asked request
	if err := json.NewDecoder(stream).Decode(&asked); err != nil {
		tell("garbage", map[string]any{"text": err.Error()})
		return
	}
	tell("asked", map[string]any{"type": stream.StreamType(), "id": asked.ID, "client": asked.ClientID})
	if err := json.NewEncoder(stream).Encode(answer(asked, stream.StreamType())); err != nil {
		tell("garbage", map[string]any{"text": err.Error()})
		return
	}
	_ = stream.CloseWrite()
	// The agent ends its side once it has read the answer: an endpoint can be visited from then on.
	_, _ = io.Copy(io.Discard, stream)
	tell("answered", map[string]any{"type": stream.StreamType()})
}

// A visitor that sends so many bytes, ends its side, and reads to the end what comes back.
func visit(session muxado.TypedStreamSession, id string, bytes int64) error {
	stream, err := session.OpenTypedStream(proxy)
	if err != nil {
		return err
	}
	defer stream.Close()
	header, _ := json.Marshal(map[string]any{
		"Id": id, "ClientAddr": "203.0.113.7:4711", "Proto": "tcp", "EdgeType": "0", "PassthroughTLS": false,
	})
	if err := binary.Write(stream, binary.LittleEndian, int64(len(header))); err != nil {
		return err
	}
	if _, err := stream.Write(header); err != nil {
		return err
	}
	sent, got := sha256.New(), sha256.New()
	wrote := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.MultiWriter(stream, sent), io.LimitReader(rand.Reader, bytes))
		if err == nil {
			err = stream.CloseWrite()
		}
		wrote <- err
	}()
	back, err := io.Copy(got, stream)
	if err != nil {
		return err
	}
	if err := <-wrote; err != nil {
		return err
	}
	tell("visited", map[string]any{
		"bytes": back, "sent": hex.EncodeToString(sent.Sum(nil)), "got": hex.EncodeToString(got.Sum(nil)),
	})
	return nil
}

func main() {
	pair, err := tls.LoadX509KeyPair(os.Args[1], os.Args[2])
	fatal(err)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	fatal(err)
	tell("listening", map[string]any{"address": listener.Addr().String()})

	var turn sync.Mutex
	var current muxado.TypedStreamSession
	go func() {
		for {
			conn, err := listener.Accept()
			fatal(err)
			typed := muxado.NewTypedStreamSession(muxado.Server(conn, nil))
			beat := func(latency time.Duration, timeout bool) {
				tell("beat", map[string]any{"ms": latency.Seconds() * 1000, "timeout": timeout})
			}
			pace := muxado.HeartbeatConfig{Interval: time.Second, Tolerance: 15 * time.Second, Type: 0xFFFFFFFF}
			session := muxado.NewHeartbeat(typed, beat, &pace)
			turn.Lock()
			current = session
			turn.Unlock()
			session.Start()
			go func() {
				for {
					stream, err := session.AcceptTypedStream()
					if err != nil {
						_, remote, debug := session.Wait()
						tell("ended", map[string]any{"text": fmt.Sprint(err), "remote": fmt.Sprint(remote), "debug": string(debug)})
						return
					}
					go serve(stream)
				}
			}()
		}
	}()

	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		var order order
		fatal(json.Unmarshal(orders.Bytes(), &order))
		turn.Lock()
		session := current
		turn.Unlock()
		if order.Do == "visit" {
			go func() {
				if err := visit(session, order.ID, order.Bytes); err != nil {
					tell("lost", map[string]any{"text": err.Error()})
				}
			}()
		} else {
			// GOAWAY, and then the end of the connection.
			_ = session.Close()
		}
	}
}
