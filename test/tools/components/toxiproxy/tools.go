//go:build tools

// Package tools pins the toxiproxy that tests put between real components.
package tools

import (
	_ "github.com/Shopify/toxiproxy/v2/cmd/server"
)
