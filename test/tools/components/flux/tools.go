//go:build tools

// Package tools pins the Flux controllers that tests run. Of source-controller, tests use the CRDs only.
package tools

import (
	_ "github.com/fluxcd/kustomize-controller"
	_ "github.com/fluxcd/notification-controller"
)
