// The driver of the Go SDK: requests and answers as lines of JSON, see ../README.md.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"time"

	"github.com/dapr/go-sdk/client"
	"google.golang.org/grpc/status"
)

type request struct {
	ID       int    `json:"id"`
	Op       string `json:"op"`
	Store    string `json:"store"`
	Resource string `json:"resource"`
	Owner    string `json:"owner"`
	Seconds  int32  `json:"seconds"`
	WithinMs int64  `json:"withinMs"`
}

type failure struct {
	Code    any    `json:"code"`
	Message string `json:"message"`
}

type answer struct {
	ID      int      `json:"id"`
	OK      bool     `json:"ok"`
	Success *bool    `json:"success,omitempty"`
	Status  *int32   `json:"status,omitempty"`
	Error   *failure `json:"error,omitempty"`
}

var dapr client.Client

func call(asked request, into *answer) (err error) {
	if asked.Op == "connect" {
		dapr, err = client.NewClient()
		return err
	}
	ctx := context.Background()
	if asked.WithinMs > 0 {
		limited, cancel := context.WithTimeout(ctx, time.Duration(asked.WithinMs)*time.Millisecond)
		defer cancel()
		ctx = limited
	}
	if asked.Op == "unlock" {
		unlocked, err := dapr.UnlockAlpha1(ctx, asked.Store, &client.UnlockRequest{
			ResourceID: asked.Resource, LockOwner: asked.Owner,
		})
		if err == nil {
			into.Status = &unlocked.StatusCode
		}
		return err
	}
	locked, err := dapr.TryLockAlpha1(ctx, asked.Store, &client.LockRequest{
		ResourceID: asked.Resource, LockOwner: asked.Owner, ExpiryInSeconds: asked.Seconds,
	})
	if err == nil {
		into.Success = &locked.Success
	}
	return err
}

func failureOf(err error) *failure {
	if from, ok := status.FromError(err); ok {
		return &failure{int(from.Code()), from.Message()}
	}
	return &failure{"local", err.Error()}
}

func main() {
	output := json.NewEncoder(os.Stdout)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var asked request
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			panic(err)
		}
		said := answer{ID: asked.ID}
		if err := call(asked, &said); err != nil {
			said.Error = failureOf(err)
		}
		said.OK = said.Error == nil
		if err := output.Encode(said); err != nil {
			panic(err)
		}
	}
}
