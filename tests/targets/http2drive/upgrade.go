package main

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net/http"
	"strconv"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// upgrade asks for HTTP/2 over HTTP/1, as RFC 7540 had it: the request is answered as stream 1.
func upgrade(name, server string) {
	s := seen{Case: name, Number: numbers.Add(1), Trailers: map[string]string{}, Informational: []int{}}
	defer func() { s.print() }()
	connection := connect(server)
	defer connection.Close()
	fmt.Fprintf(connection, "GET /plain/%d?size=5 HTTP/1.1\r\nHost: upgrade.test\r\nUser-Agent: row/%s\r\n"+
		"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", s.Number, name)
	input := bufio.NewReader(connection)
	response, err := http.ReadResponse(input, nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		s.Error = fmt.Sprint("no upgrade: ", err, response)
		return
	}
	s.Informational = append(s.Informational, response.StatusCode)
	io.WriteString(connection, http2.ClientPreface)
	framer := http2.NewFramer(connection, input)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := framer.WriteSettings(); err != nil {
		log.Fatal(err)
	}
	for !s.Complete {
		frame, err := framer.ReadFrame()
		if err != nil {
			s.Error = err.Error()
			return
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			s.Status, _ = strconv.Atoi(frame.PseudoValue("status"))
			s.Complete = frame.StreamEnded()
		case *http2.DataFrame:
			s.Body += int64(len(frame.Data()))
			s.Complete = frame.StreamEnded()
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				framer.WriteSettingsAck()
			}
		}
	}
}
