package witness

import (
	"fmt"
	"log"
	"syscall"
)

// Refused is an address at which a connection is refused: its socket has it, so that nobody else gets it, and does not listen.
func Refused() (address string, socket int) {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		log.Fatal(err)
	}
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		log.Fatal(err)
	}
	name, err := syscall.Getsockname(socket)
	if err != nil {
		log.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port), socket
}
