/* A libnvidia-ml.so.1 that answers as the environment says: NVML_INIT and NVML_HANDLE_1 are status codes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int told(const char *name) { const char *text = getenv(name); return text ? atoi(text) : 0; }

int nvmlInitWithFlags(unsigned int flags) { (void)flags; return told("NVML_INIT"); }
int nvmlInit_v2(void) { return told("NVML_INIT"); }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int status) {
    return status == 18 ? "Driver/library version mismatch" : status == 9 ? "Driver Not Loaded" : "Unknown Error";
}
int nvmlSystemGetDriverVersion(char *out, unsigned int size) { snprintf(out, size, "580.95.05"); return 0; }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = told("NVML_COUNT"); return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **handle) {
    *handle = (void *)(size_t)(index + 1);
    return index == 1 ? told("NVML_HANDLE_1") : 0;
}
int nvmlDeviceGetUUID(void *handle, char *out, unsigned int size) {
    snprintf(out, size, "GPU-%zu", (size_t)handle - 1); return 0;
}
int nvmlDeviceGetName(void *handle, char *out, unsigned int size) {
    snprintf(out, size, "%s", (size_t)handle == 1 ? "NVIDIA GB10" : "NVIDIA T4"); return 0;
}
int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) {
    if (getenv("NVML_NO_CAPABILITY")) return 3;
    *major = (size_t)handle == 1 ? 12 : 7; *minor = (size_t)handle == 1 ? 1 : 5;
    return 0;
}
