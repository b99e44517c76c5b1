"""Doubles of NVIDIA's driver (libcuda) and CUDA's runtime library in C, for which GPU memory is ordinary memory."""

DRIVER_IN_C = """
#include <stddef.h>
#include <string.h>
int cuInit(unsigned flags) { return flags; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = 7 + ordinal; return 0; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, "Orin", length); return device != 7; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = 7989788672ul; return device != 7; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  *value = attribute == 75 ? 8 : attribute == 76 ? 7 : attribute == 18 ? 1 : -1;
  return device != 7;
}
int cuDriverGetVersion(int *version) { *version = 12060; return 0; }
"""

RUNTIME_IN_C = """
#include <stdlib.h>
#include <string.h>
static int live;
int live_allocations(void) { return live; }
static int make(void **made, size_t size) {
  if (size > 1ul << 33) return 2;
  live++;
  return (*made = malloc(size)) ? 0 : 2;
}
static int give_back(void *memory) { live--; free(memory); return 0; }
int cudaSetDevice(int device) { return device; }
int cudaRuntimeGetVersion(int *version) { *version = 10020; return 0; }
int cudaStreamCreate(void **stream) { return make(stream, 16); }
int cudaStreamSynchronize(void *stream) { return stream == 0; }
int cudaStreamDestroy(void *stream) { return give_back(stream); }
int cudaMalloc(void **made, size_t size) { return make(made, size); }
int cudaMallocHost(void **made, size_t size) { return make(made, size); }
int cudaFree(void *memory) { return give_back(memory); }
int cudaFreeHost(void *memory) { return give_back(memory); }
int cudaMemcpyAsync(void *target, const void *source, size_t size, int kind, void *stream) {
  memcpy(target, source, size);
  return stream == 0 || kind < 1 || kind > 2;
}
const char *cudaGetErrorName(int error) { return error == 2 ? "cudaErrorMemoryAllocation" : "cudaErrorUnknown"; }
"""
