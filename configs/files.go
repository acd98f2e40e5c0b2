package configs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"sightline/pipeline"
)

const maxSecretBytes = 4096

// beside returns a path of the file as this process can use it.
func (c *checker) beside(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(c.folder, path)
}

// existing makes the path at a key usable, and checks that there is a file which can be read.
func (c *checker) existing(path string, name *string) {
	if !c.doc.Given(path) {
		return
	}
	if *name == "" {
		c.problem(path, "is empty", "write a path, or remove the key")
		return
	}
	written := *name
	*name = c.beside(written)
	c.p.Files = append(c.p.Files, *name)
	if c.opts.Elsewhere {
		return
	}
	if err := readable(*name); err != nil {
		c.problem(path, cause(err), whereHint(written, err))
	}
}

// whereHint says what a path is relative to, where that may be why nothing was found.
func whereHint(path string, err error) string {
	if filepath.IsAbs(path) || !errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return "the path is relative to the folder of the pipeline file"
}

func readable(path string) error {
	if err := regular(path); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return f.Close()
}

// password checks the keys password and password_file of the group at path, and reads the file.
func (c *checker) password(path string, username string, secret *pipeline.Secret, file *string) {
	given := c.doc.Given(path+".password") || c.doc.Given(path+".password_file")
	twice := c.doc.Given(path+".password") && c.doc.Given(path+".password_file")
	if given && !twice && username == "" && !c.doc.Stands(path+".username") {
		c.problem(path, "has a password but no username", "add username")
	}
	c.secret(path, "password", secret, file)
}

// secret checks the keys name and name_file of the group at path, and reads the file.
func (c *checker) secret(path, name string, secret *pipeline.Secret, file *string) {
	fileKey := path + "." + name + "_file"
	fileGiven := c.doc.Given(fileKey)
	if fileGiven && c.doc.Given(path+"."+name) {
		c.problem(fileKey, "is there beside "+name, "keep one of them")
		return
	}
	before := len(c.problems)
	c.existing(fileKey, file)
	if !fileGiven || c.opts.Elsewhere || len(c.problems) > before {
		return
	}
	*secret = c.secretFile(fileKey, *file)
}

// secretFile reads the secret in a file: one line, whose end is not part of it.
func (c *checker) secretFile(path, name string) pipeline.Secret {
	data, err := read(name, maxSecretBytes)
	if err != nil {
		c.problem(path, cause(err), "")
		return pipeline.Secret{}
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	switch {
	case text == "":
		c.problem(path, "the file is empty", "")
	case strings.ContainsAny(text, "\n\r\x00"):
		c.problem(path, "the file has more than one line", "write the secret alone into it")
	}
	c.exposed(path, name)
	return pipeline.NewSecret(text)
}

// exposed warns of a secret that every user of the machine can read or write. Links are followed, as
// container engines mount secrets by them: what counts is the file that they lead to. In /run/secrets container engines
// put files with modes of their own.
func (c *checker) exposed(path, name string) {
	info, err := os.Stat(name)
	if err != nil || strings.HasPrefix(name, "/run/secrets/") {
		return // that it can be read was checked
	}
	switch mode := info.Mode().Perm(); {
	case mode&0o002 != 0:
		c.warn(path, "every user of this machine can write the file", "chmod o-rw the file")
	case mode&0o004 != 0:
		c.warn(path, "every user of this machine can read the file", "chmod o-r the file")
	}
}
