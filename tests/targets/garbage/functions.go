package garbage

import (
	"reflect"
	"runtime"
	"unsafe"
)

// An Iface is what an interface with methods is made of.
type Iface struct {
	Itab, Data unsafe.Pointer
}

// Function is the value of a function that nobody else may call, to be read as a func of its type. It is looked for in both
// directions from another one; nil if there is none of that name.
func Function(name string, from any) unsafe.Pointer {
	// A function's value is the address of a word that has its address.
	value := entry(name, reflect.ValueOf(from).Pointer())
	if value == nil {
		return nil
	}
	return unsafe.Pointer(&value)
}

func entry(name string, start uintptr) *uintptr {
	for distance := uintptr(0); distance < 16<<20; distance += 16 {
		for _, pc := range []uintptr{start + distance, start - distance} {
			if function := runtime.FuncForPC(pc); function != nil && function.Name() == name {
				address := function.Entry()
				return &address
			}
		}
	}
	return nil
}

// Field is where an unexported field of a struct is, or nil if there is none of that name.
func Field(of any, name string) unsafe.Pointer {
	value := reflect.ValueOf(of)
	found, ok := value.Type().Elem().FieldByName(name)
	if !ok {
		return nil
	}
	return unsafe.Add(value.UnsafePointer(), found.Offset)
}
