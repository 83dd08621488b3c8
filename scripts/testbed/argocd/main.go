// What Argo CD's repo server does with an OCI source, by its own code: it resolves a tag, takes the
// artifact with the settings that it has by default, and unpacks it.
//
//	argocd-pull oci://HOST/REPOSITORY TAG FOLDER
package main

import (
	"context"
	"fmt"
	"os"

	utilio "github.com/argoproj/argo-cd/v3/util/io"
	"github.com/argoproj/argo-cd/v3/util/oci"
)

// As argocd-repo-server has them.
var layerTypes = []string{
	"application/vnd.oci.image.layer.v1.tar",
	"application/vnd.oci.image.layer.v1.tar+gzip",
	"application/vnd.cncf.helm.chart.content.v1.tar+gzip",
}

const maxSize = 1 << 30

func pull(repository, tag, folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	ctx := context.Background()
	client, err := oci.NewClient(
		repository, oci.Creds{InsecureHTTPOnly: true}, "", "", layerTypes,
		oci.WithImagePaths(utilio.NewRandomizedTempPaths(folder)),
		oci.WithManifestMaxExtractedSize(maxSize),
	)
	if err != nil {
		return err
	}
	digest, err := client.ResolveRevision(ctx, tag, true)
	if err != nil {
		return err
	}
	unpacked, closer, err := client.Extract(ctx, digest)
	if err != nil {
		return err
	}
	defer closer.Close()
	fmt.Println(digest)
	return os.CopyFS(folder+"/files", os.DirFS(unpacked))
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: argocd-pull oci://HOST/REPOSITORY TAG FOLDER")
		os.Exit(2)
	}
	if err := pull(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
