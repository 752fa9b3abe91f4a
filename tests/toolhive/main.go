// ToolHive's own auth server and store, as its module has them, for tests: what its code writes must
// be served by ours, and what ours writes must be read and refreshed by its code.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/stacklok/toolhive/pkg/auth/upstreamtoken"
	"github.com/stacklok/toolhive/pkg/authserver"
	"github.com/stacklok/toolhive/pkg/authserver/runner"
	"github.com/stacklok/toolhive/pkg/authserver/storage"
)

const usage = `usage: toolhive serve CONFIG ADDRESS
       toolhive store CONFIG SESSION < tokens
       toolhive tokens CONFIG SESSION
CONFIG is a RunConfig in JSON; tokens are a list of rows as ToolHive stores them`

// row is what stands in the store, by ToolHive's names for it.
type row struct {
	ProviderID       string `json:"provider_id"`
	AccessToken      string `json:"access_token"`
	RefreshToken     string `json:"refresh_token"`
	IDToken          string `json:"id_token"`
	ExpiresAt        int64  `json:"expires_at"`
	SessionExpiresAt int64  `json:"session_expires_at"`
	UserID           string `json:"user_id"`
	UpstreamSubject  string `json:"upstream_subject"`
	ClientID         string `json:"client_id"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) != 3 && (len(arguments) != 2 || arguments[0] == "serve") {
		return errors.New(usage)
	}
	text, err := os.ReadFile(arguments[1])
	if err != nil {
		return err
	}
	var config authserver.RunConfig
	if err := json.Unmarshal(text, &config); err != nil {
		return fmt.Errorf("%s: %w", arguments[1], err)
	}
	ctx := context.Background()
	server, err := runner.NewEmbeddedAuthServer(ctx, &config)
	if err != nil {
		return err
	}
	defer server.Close()
	switch arguments[0] {
	case "serve":
		return serve(server, arguments[2])
	case "store":
		return store(ctx, server, arguments[2])
	case "tokens":
		return tokens(ctx, server, arguments[2])
	default:
		return errors.New(usage)
	}
}

func serve(server *runner.EmbeddedAuthServer, address string) error {
	listening := &http.Server{
		Addr:              address,
		Handler:           server.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
	}
	return listening.ListenAndServe()
}

// store writes a session as a login does.
func store(ctx context.Context, server *runner.EmbeddedAuthServer, session string) error {
	var rows []row
	if err := json.NewDecoder(os.Stdin).Decode(&rows); err != nil {
		return err
	}
	for _, row := range rows {
		tokens := &storage.UpstreamTokens{
			ProviderID:       row.ProviderID,
			AccessToken:      row.AccessToken,
			RefreshToken:     row.RefreshToken,
			IDToken:          row.IDToken,
			ExpiresAt:        at(row.ExpiresAt),
			SessionExpiresAt: at(row.SessionExpiresAt),
			UserID:           row.UserID,
			UpstreamSubject:  row.UpstreamSubject,
			ClientID:         row.ClientID,
		}
		if err := server.IDPTokenStorage().StoreUpstreamTokens(ctx, session, row.ProviderID, tokens); err != nil {
			return err
		}
	}
	return nil
}

// tokens prints what vMCP's middleware would find in a session, refreshing what has expired.
func tokens(ctx context.Context, server *runner.EmbeddedAuthServer, session string) error {
	service := upstreamtoken.NewInProcessService(server.IDPTokenStorage(), server.UpstreamTokenRefresher())
	found, failed, err := service.GetAllUpstreamCredentials(ctx, session)
	if err != nil {
		return err
	}
	answer := map[string]any{"failed": failed}
	for provider, credential := range found {
		answer[provider] = map[string]string{
			"access_token": credential.AccessToken,
			"id_token":     credential.IDToken,
		}
	}
	return json.NewEncoder(os.Stdout).Encode(answer)
}

func at(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}
