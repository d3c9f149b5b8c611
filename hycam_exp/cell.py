def run_cell(run):
    print(run)
