package main

import (
	"bufio"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
)

// misbehaving serves each connection by hand, the first of them with number 0, until the case that needs it ends it.
func misbehaving(serve func(number int, connection *net.TCPConn, request func() bool)) (address string, end func()) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	var all sync.WaitGroup
	all.Add(1)
	go func() {
		defer all.Done()
		for number := 0; ; number++ {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			all.Add(1)
			go func(number int) {
				defer all.Done()
				defer connection.Close()
				input := bufio.NewReader(connection)
				serve(number, connection.(*net.TCPConn), func() bool {
					request, err := http.ReadRequest(input)
					if err == nil {
						io.Copy(io.Discard, request.Body)
					}
					return err == nil
				})
			}(number)
		}
	}()
	return "http://" + listener.Addr().String(), func() {
		listener.Close()
		all.Wait()
	}
}

const answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

// says answers each request with the same bytes, then closes the connection.
func says(text string) func(int, *net.TCPConn, func() bool) {
	return func(_ int, connection *net.TCPConn, request func() bool) {
		if request() {
			io.WriteString(connection, text)
		}
	}
}

// resets sends part of an answer, then resets the connection.
func resets(text string) func(int, *net.TCPConn, func() bool) {
	return func(_ int, connection *net.TCPConn, request func() bool) {
		if request() {
			io.WriteString(connection, text)
			connection.SetLinger(0)
		}
	}
}

// dies answers the first request of the first connection and closes it when the second comes.
func dies(number int, connection *net.TCPConn, request func() bool) {
	for request() {
		io.WriteString(connection, answer)
		if number == 0 {
			request()
			return
		}
	}
}
