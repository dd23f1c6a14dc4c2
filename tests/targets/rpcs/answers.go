package rpcs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// patience is how long a handler waits for a client that should have left.
const patience = 20 * time.Second

// answer does what the metadata x-do says: VERB [ARGUMENT].
func (s *scene) answer(ctx context.Context, truth *Handled, request *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	verb, argument := wanted(ctx)
	answer := wrapperspb.String("hello " + request.Value)
	switch verb {
	case "large":
		return wrapperspb.String(strings.Repeat("x", 1<<17)), nil
	case "nest":
		return answer, s.relate(ctx, truth.Number, argument)
	default:
		return answer, s.obey(ctx, verb, argument)
	}
}

// answerStream does the same for streams.
func (s *scene) answerStream(stream grpc.ServerStream, truth *Handled) error {
	verb, argument := wanted(stream.Context())
	count, _ := strconv.Atoi(argument)
	switch verb {
	case "echo-elsewhere":
		// Another goroutine receives, and one sends.
		messages, over := make(chan string), make(chan error)
		go func() {
			defer close(messages)
			for {
				message, err := receive(stream)
				if err != nil {
					return
				}
				messages <- message
			}
		}()
		go func() {
			for message := range messages {
				if err := stream.SendMsg(wrapperspb.String(message)); err != nil {
					over <- err
					return
				}
			}
			over <- nil
		}()
		return <-over
	case "collect":
		for {
			if _, err := receive(stream); errors.Is(err, io.EOF) {
				return stream.SendMsg(wrapperspb.String("all there"))
			} else if err != nil {
				return err
			}
		}
	case "send":
		if _, err := receive(stream); err != nil {
			return err
		}
		return send(stream, count)
	case "gather-and-send":
		s.crowd.wait()
		return send(stream, count)
	case "send-and-abort":
		if err := send(stream, count); err != nil {
			return err
		}
		return status.Error(codes.Aborted, "enough of it")
	case "send-and-wait":
		if err := send(stream, count); err != nil {
			return err
		}
		return s.obey(stream.Context(), "wait", "")
	case "echo":
		for {
			message, err := receive(stream)
			if errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			if err := stream.SendMsg(wrapperspb.String(message)); err != nil {
				return err
			}
		}
	case "leave":
		// Before the client has sent all that it has.
		_, err := receive(stream)
		return err
	case "nest":
		return s.relate(stream.Context(), truth.Number, argument)
	default:
		return s.obey(stream.Context(), verb, argument)
	}
}

// obey does what makes no difference to streams.
func (s *scene) obey(ctx context.Context, verb, argument string) error {
	number, _ := strconv.Atoi(argument)
	switch verb {
	case "", "answer":
		return nil
	case "code":
		return status.Error(codes.Code(number), "as you wish")
	case "details":
		detailed, err := status.New(codes.FailedPrecondition, "see below").WithDetails(wrapperspb.String("a detail"))
		if err != nil {
			log.Fatal(err)
		}
		return detailed.Err()
	case "fail-twice":
		return failTwice(ctx)
	case "plain":
		return errors.New("nobody knows this error")
	case "long":
		return status.Error(codes.Internal, strings.Repeat("long ", 1000))
	case "wrapped":
		return fmt.Errorf("around it: %w", status.Error(codes.NotFound, "not here"))
	case "panic":
		panic("on purpose")
	case "goexit":
		runtime.Goexit()
	case "wait":
		s.started.Done()
		if !gone(ctx) {
			return status.Error(codes.Internal, "nobody left")
		}
		return status.FromContextError(ctx.Err()).Err()
	case "wait-bare":
		s.started.Done()
		gone(ctx)
		return ctx.Err()
	case "wait-and-answer":
		s.started.Done()
		gone(ctx)
		return nil
	case "sleep":
		s.started.Done()
		time.Sleep(time.Duration(number) * time.Millisecond)
		return nil
	case "gather":
		s.crowd.wait()
		return nil
	case "hold":
		s.held.arrived.Done()
		<-s.held.release
		return nil
	default:
		log.Fatalf("what is %q?", verb)
	}
	return nil
}

func gone(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		// The transport has noticed it, too.
		time.Sleep(10 * time.Millisecond)
		return true
	case <-time.After(patience):
		return false
	}
}

// failTwice counts the attempts of a call by what clients say of them.
func failTwice(ctx context.Context) error {
	md, _ := metadata.FromIncomingContext(ctx)
	before, _ := strconv.Atoi(first(md["grpc-previous-rpc-attempts"]))
	if before < 2 {
		return status.Error(codes.Unavailable, "once more")
	}
	return nil
}

func wanted(ctx context.Context) (verb, argument string) {
	md, _ := metadata.FromIncomingContext(ctx)
	verb, argument, _ = strings.Cut(first(md["x-do"]), " ")
	return verb, argument
}

func receive(stream grpc.ServerStream) (string, error) {
	message := new(wrapperspb.StringValue)
	err := stream.RecvMsg(message)
	return message.Value, err
}

func send(stream grpc.ServerStream, count int) error {
	for i := 0; i < count; i++ {
		if err := stream.SendMsg(wrapperspb.String("message " + strconv.Itoa(i))); err != nil {
			return err
		}
	}
	return nil
}

// signal is set by a handler that has begun, for who waits for that.
type signal struct{ channel chan struct{} }

func (s *signal) Done() {
	select {
	case s.channel <- struct{}{}:
	default:
	}
}

func (s *signal) forget() {
	select {
	case <-s.channel:
	default:
	}
}

// barrier lets all go on once as many as are expected have come.
type barrier struct{ missing sync.WaitGroup }

func (b *barrier) wait() {
	b.missing.Done()
	b.missing.Wait()
}
