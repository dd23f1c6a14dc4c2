// Command echo serves by echo's router and writes down what really happened, as package witness says.
package main

import (
	"context"
	"net/http"
	"runtime"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"lightfoot.example/witness"
)

func main() {
	router := echo.New()
	router.Use(middleware.RecoverWithConfig(middleware.RecoverConfig{
		LogErrorFunc: func(_ echo.Context, err error, _ []byte) error { return err },
	}), noting)
	router.GET("/plain/:number", answer)
	router.GET("/users/:id/files/*", answer)
	router.Group("/group").Group("/inner", copying).POST("/:id", answer)
	router.GET("/status/:number", func(c echo.Context) error { return c.NoContent(http.StatusTeapot) })
	router.GET("/error/:number", func(echo.Context) error { return echo.ErrForbidden })
	router.GET("/panic/:number", func(echo.Context) error { panic("asked to") })
	router.GET("/exit/:number", func(echo.Context) error { runtime.Goexit(); return nil })
	router.GET("/copied/:number", answer, copying)
	witness.Serve(router)
}

func noting(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		// Where nothing matches it is empty or, in some versions, the pattern of a not-found handler.
		if path := c.Path(); path != "" {
			witness.Route(c.Response(), path)
		}
		return next(c)
	}
}

func answer(c echo.Context) error { return c.String(http.StatusOK, "hello") }

func copying(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		c.SetRequest(c.Request().WithContext(context.WithValue(c.Request().Context(), c, c)))
		return next(c)
	}
}
