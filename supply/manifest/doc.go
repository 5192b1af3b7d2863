// Package manifest says what files a model folder is made of: names, sizes and
// digests, enumerated and hashed as OpenSSF Model Signing v1.0 wants it
// (https://github.com/ossf/model-signing-spec, section 5).
//
// In: a folder. Out: a [Manifest] with its OMS root in both known orders and
// with the weighbridge identity, which binds names too (the roots do not).
// Memory does not grow with the size of the files.
//
// Files are hashed on all cores. A file that is not the one that was found, or
// that changes while it is read, ends the reading; afterwards [Manifest.Recheck]
// proves that the folder is still what was hashed, and [Manifest.Open] opens a
// file only if it is. Both compare inode, size, modification and change time:
// they hold against every other user of the machine, not against its administrator.
//
// It follows no symlink out of the folder and none at all unless asked to, and
// refuses sockets, devices, names that are not UTF-8, and folders deeper or
// larger than its limits. It will not judge signatures or read what is in a file.
package manifest
