/* none.c - the kind where hydac was built without OpenCL's headers: its check says so. */
#include "worker/opencl/opencl.h"

static int check(const struct hd_device_options *o, struct hd_error *err)
{
    return hd_fail(err, HD_E_CONFIG,
                   "compute.device: this hydac was built without OpenCL's headers "
                   "(opencl-c-headers); use cpu");
}

static uint64_t nothing(const struct hd_device_options *o)
{
    return 0;
}

static int create(struct hd_device **out, const struct hd_device_options *o, struct hd_error *err)
{
    return check(o, err);
}

unsigned hd_opencl_list(FILE *to)
{
    return 0;
}

const struct hd_device_kind hd_opencl_device = {
    .name = "opencl",
    .check = check,
    .speed = nothing,
    .memory = nothing,
    .create = create,
};
