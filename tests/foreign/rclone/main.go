// Rclone is the object store of the tests: rclone with the one command that serves S3 from a folder, and nothing else of
// its commands and backends, which are nine tenths of it.
package main

import (
	_ "github.com/rclone/rclone/backend/local"
	"github.com/rclone/rclone/cmd"
	_ "github.com/rclone/rclone/cmd/serve/s3"
)

func main() {
	cmd.Main()
}
