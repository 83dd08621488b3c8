// What `flux push artifact` does, by the library that does it: the flux program itself can't be built
// from its module alone, for the manifests that it embeds are not part of that.
//
//	flux-push HOST/REPOSITORY:TAG FOLDER SOURCE REVISION
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/fluxcd/pkg/oci"
)

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: flux-push HOST/REPOSITORY:TAG FOLDER SOURCE REVISION")
		os.Exit(2)
	}
	from := oci.Metadata{Source: os.Args[3], Revision: os.Args[4]}
	name, err := oci.NewClient(oci.DefaultOptions()).Push(
		context.Background(), os.Args[1], os.Args[2], oci.WithPushMetadata(from),
	)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(name)
}
