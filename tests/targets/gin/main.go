// Command gin serves by gin's router and writes down what really happened, as package witness says.
package main

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"runtime"
	"strings"

	"github.com/gin-gonic/gin"
	"lightfoot.example/witness"
)

// pool has one goroutine that is older than all requests.
var pool = make(chan func())

func main() {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.ContextWithFallback = true // a client may then be handed the *gin.Context itself
	router.Use(gin.CustomRecoveryWithWriter(io.Discard, func(c *gin.Context, _ any) { c.AbortWithStatus(500) }), noting)
	router.GET("/plain/:number", answer)
	router.GET("/users/:id/files/*path", answer)
	inner := router.Group("/group").Group("/inner", func(c *gin.Context) { c.Next() })
	inner.POST("/:id", answer)
	router.GET("/status/:number", func(c *gin.Context) { c.Status(http.StatusTeapot) })
	router.GET("/refused/:number", func(c *gin.Context) { c.AbortWithStatus(http.StatusForbidden) }, answer)
	router.GET("/panic/:number", func(*gin.Context) { panic("asked to") })
	router.GET("/exit/:number", func(*gin.Context) { runtime.Goexit() })
	router.GET("/copied/:number", func(c *gin.Context) {
		c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), c, c))
		answer(c)
	})
	router.GET("/call/:number", func(c *gin.Context) { call(c, c) })
	router.GET("/call-by-request/:number", func(c *gin.Context) { call(c, c.Request.Context()) })
	go func() {
		for work := range pool {
			work()
		}
	}()
	router.GET("/muxed/:number", answer)
	mux := http.NewServeMux()
	mux.Handle("/muxed/", router)
	witness.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/muxed/") {
			mux.ServeHTTP(w, r) // which has a pattern of its own for it
		} else {
			router.ServeHTTP(w, r)
		}
	}))
}

func noting(c *gin.Context) {
	if route := c.FullPath(); route != "" {
		witness.Route(c.Writer, route)
	}
}

func answer(c *gin.Context) { c.String(http.StatusOK, "hello") }

// call has another goroutine make a call, so that the context alone says whose it is.
func call(c *gin.Context, ctx context.Context) {
	there := c.Request.Context().Value(http.LocalAddrContextKey).(net.Addr).String()
	request, err := http.NewRequestWithContext(ctx, "GET", "http://"+there+"/plain/"+c.Param("number"), nil)
	if err != nil {
		log.Fatal(err)
	}
	done := make(chan struct{})
	pool <- func() {
		defer close(done)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			log.Fatal(err)
		}
		io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	<-done
	answer(c)
}
