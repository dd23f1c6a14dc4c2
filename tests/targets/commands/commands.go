// Package commands is how a test drives a program: by lines on its standard input.
package commands

import (
	"bufio"
	"fmt"
	"log"
	"math/rand"
	"os"
	"strconv"
	"strings"
	"sync"
)

// A Command is a line in words, and behind these some empty ones.
type Command []string

// Number is the word at i, or otherwise where that is no number.
func (c Command) Number(i, otherwise int) int {
	if value, err := strconv.Atoi(c[i]); err == nil {
		return value
	}
	return otherwise
}

// Obey prints "ready", has each line of standard input obeyed until that ends, and prints "done" after each. A command that
// obey does not know is the program's end.
func Obey(obey func(Command) (known bool)) {
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if !obey(append(strings.Fields(lines.Text()), "", "", "", "")) {
			log.Fatalf("what is %q?", lines.Text())
		}
		fmt.Println("done")
	}
}

// AtRandom runs COUNT (command[1]) of these, chosen at random by SEED (command[3]), WORKERS (command[2]) at a time.
func AtRandom[T any](command Command, of []T, run func(T)) {
	random, work := rand.New(rand.NewSource(int64(command.Number(3, 0)))), make(chan T)
	var all sync.WaitGroup
	for i := 0; i < command.Number(2, 1); i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for one := range work {
				run(one)
			}
		}()
	}
	for i := 0; i < command.Number(1, 1); i++ {
		work <- of[random.Intn(len(of))]
	}
	close(work)
	all.Wait()
}
